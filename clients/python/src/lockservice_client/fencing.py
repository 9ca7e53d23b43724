"""Tokens at the store: a holder that paused past its lease cannot write any more.

No lease can stop such a holder; the store can, by remembering the highest fencing token that it has seen of a
resource and refusing a lower one. That is what these few lines do, for SQL in the transaction that writes, and for
Redis in the script that writes. They need nothing but the connection that is there anyway.

Who reads what it will write back shows its token before it reads, too. Until the store has seen that token, it takes
the write of a holder before, and if that comes between this one's read and its write, it is overwritten unread.

Source: Kleppmann, "How to do distributed locking" (2016), on fencing tokens.
"""

from collections.abc import Sequence
from typing import Any, Final

FENCES: Final = "CREATE TABLE IF NOT EXISTS fences (resource TEXT PRIMARY KEY, token BIGINT NOT NULL)"

# The holder of the token itself may write as often as it likes: an equal token is admitted.
_ADMIT: Final = (
    "INSERT INTO fences (resource, token) VALUES ({mark}, {mark}) "
    "ON CONFLICT (resource) DO UPDATE SET token = excluded.token WHERE fences.token <= excluded.token"
)

# ARGV: the token, then for each command how many words it has, and the words.
_WRITE: Final = """
if tonumber(ARGV[1]) < tonumber(redis.call('GET', KEYS[1]) or '0') then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1])
local at = 2
while ARGV[at] do
  local last = at + tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, last))
  at = last + 1
end
return 1
"""


class StaleToken(Exception):
    """The store has seen a higher token of the resource: another holder has come, and nothing was written."""


def admit(cursor: Any, resource: str, token: int, *, mark: str = "?") -> None:
    """Begins the reads or the writes of a holder in a SQL store, in the transaction that they are in.

    Until that transaction ends, no other holder of the resource gets past this line, so nothing comes in between. The
    table `fences` (the statement FENCES makes it) must be in the same database. SQLite and PostgreSQL know the
    statement; in PostgreSQL any isolation will do.

    Args:
        cursor: a cursor of DB-API 2.0, or a connection that has `execute`.
        resource: what is locked.
        token: the fencing token of the lease.
        mark: what stands for a parameter: "?" for sqlite3, "%s" for psycopg.

    Raises:
        StaleToken: a later holder has been here; roll back.
    """
    done = cursor.execute(_ADMIT.format(mark=mark), (resource, token))
    if (done if done is not None else cursor).rowcount != 1:
        raise StaleToken(f"{resource}: a higher token than {token} has been seen")


def redis_call(fence: str, token: int, *commands: Sequence[str | bytes | int]) -> tuple[Any, ...]:
    """Builds the arguments for `eval` of a Redis client; it answers 0 when the token is stale, and then does nothing.

    Args:
        fence: the key that remembers the highest token; in a Redis Cluster of the same slot as all other keys.
        token: the fencing token of the lease.
        commands: what to do, each as its words, with the key second: ("SET", "stock:7", 12). Without any the token is
            shown, which comes before reading.
    """
    words: list[Any] = [token]
    for command in commands:
        words += [len(command), *command]
    keys = [fence, *(command[1] for command in commands)]
    return (_WRITE, len(keys), *keys, *words)


def write_redis(client: Any, fence: str, token: int, *commands: Sequence[str | bytes | int]) -> None:
    """Carries out commands on a Redis at once, unless the token is stale; arguments as `redis_call` has them.

    Raises:
        StaleToken: a later holder has been here, and nothing was done.
    """
    if not client.eval(*redis_call(fence, token, *commands)):
        raise StaleToken(f"{fence}: a higher token than {token} has been seen")


async def write_redis_async(client: Any, fence: str, token: int, *commands: Sequence[str | bytes | int]) -> None:
    """Does what `write_redis` does, with an asyncio client. Raises StaleToken."""
    if not await client.eval(*redis_call(fence, token, *commands)):
        raise StaleToken(f"{fence}: a higher token than {token} has been seen")
