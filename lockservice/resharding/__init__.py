"""Takes the service from one shard map to another while it runs."""
