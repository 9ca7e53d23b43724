"""Where a resource or an event key lives: its encoded name, its bucket and the bucket's key prefix."""

from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple
from urllib.parse import quote

from lockservice.limits import BUCKETS

INBOX: Final = "ls:inbox:"
# Its tag puts it on one node of a Cluster, together with bucket 0.
MAP_KEY: Final = "ls:{b0}:map"

# User text never builds a key as it is: braces would move it to another slot, globs and control characters
# confuse people and tools.
_PLAIN: Final = ":-_.~@#+=,!$&'()"


class Place(NamedTuple):
    """Where a name lives within its shard.

    Attributes:
        name: the encoded name, unique among the names of all namespaces.
        bucket: 0 to BUCKETS - 1.
    """

    name: str
    bucket: int


@lru_cache(maxsize=16_384)
def place(namespace: str, text: str) -> Place:
    """Encodes a resource or event key of a namespace and finds its bucket."""
    name = quote(text, safe=_PLAIN)
    if namespace:
        name = f"{quote(namespace, safe='')}/{name}"
    return Place(name, blake2b(name.encode(), digest_size=1).digest()[0] % BUCKETS)


def name_prefix(namespace: str, prefix: str) -> str:
    """Encodes the beginning of resource names."""
    encoded = quote(prefix, safe=_PLAIN)
    return f"{quote(namespace, safe='')}/{encoded}" if namespace else encoded


def bucket_prefix(bucket: int) -> str:
    """Begins every key of a bucket; the braces keep them in one slot of a Redis Cluster."""
    return f"ls:{{b{bucket}}}:"


BUCKET_PREFIXES: Final = tuple(bucket_prefix(bucket).encode() for bucket in range(BUCKETS))
BUCKET_BY_PREFIX: Final = {prefix: bucket for bucket, prefix in enumerate(BUCKET_PREFIXES)}
