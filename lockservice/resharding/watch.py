"""Which keys of a shard change while they are copied.

Redis itself tells: CLIENT TRACKING in broadcasting mode names every key that is written, deleted or runs out, on one
connection and in order, so that what has been heard by the answer to a PING that followed a freeze is complete.
"""

from typing import Any

from lockservice.errors import ShardUnavailable
from lockservice.resharding.site import Site, sort_by_bucket
from lockservice.shards.connection import connect
from lockservice.shards.pipeline import Pipeline, is_error


class Watch:
    """Gathers the changed keys of some buckets of a shard.

    Args:
        site: the shard.
        buckets: which.
        timeout_s: how long an answer may take.
    """

    def __init__(self, site: Site, buckets: frozenset[int], timeout_s: float) -> None:
        self._site = site
        self._buckets = buckets
        self._timeout_s = timeout_s
        self._changed: dict[int, set[bytes]] = {bucket: set() for bucket in buckets}
        self._pipelines: list[Pipeline] = []
        self._flushed = False

    async def start(self) -> None:
        """Begins to gather. Raises ShardUnavailable when a Redis does not tell."""
        for node in self._site.nodes():
            pipeline = Pipeline(timeout_s=self._timeout_s, on_push=self._hear, on_batch=lambda _: None)
            await connect(node.url, pipeline)
            self._pipelines.append(pipeline)
            reply = await pipeline.call("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "ls:{b")
            if is_error(reply):
                raise ShardUnavailable(f"shard {self._site.name} does not tell what changes: {reply}")

    def stop(self) -> None:
        """Stops gathering."""
        for pipeline in self._pipelines:
            pipeline.close()

    async def changed(self, bucket: int) -> set[bytes]:
        """Takes what has changed in a bucket up to now.

        Raises:
            ShardUnavailable, OutcomeUnknown: something may have been missed, so everything must be copied again.
        """
        for pipeline in self._pipelines:
            # What Redis tells leaves it at the end of a turn: after the answer of one PING, before that of the next.
            await pipeline.call("PING")
            await pipeline.call("PING")
        if self._flushed:
            raise ShardUnavailable(f"shard {self._site.name} was emptied while it was being copied")
        changed, self._changed[bucket] = self._changed[bucket], set()
        return changed

    def _hear(self, push: list[Any]) -> None:
        if push[0] != b"invalidate":
            return
        if push[1] is None:
            self._flushed = True
            return
        for bucket, keys in sort_by_bucket(push[1], self._buckets).items():
            self._changed[bucket].update(keys)
