"""The edge that knows Redis: reach a shard, batch, run a script."""
