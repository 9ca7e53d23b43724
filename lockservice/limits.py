"""Every bound of the service, in one place, each with its unit."""

from typing import Final

RESOURCE_BYTES_MAX: Final = 512
OWNER_BYTES_MAX: Final = 256
REQUEST_ID_BYTES_MAX: Final = 128
LEASE_ID_BYTES_MAX: Final = 64
REASON_BYTES_MAX: Final = 1024
FINGERPRINT_BYTES_MAX: Final = 64
RESULT_BYTES_MAX: Final = 4096
# Of a unary request; a message of a session holds many operations.
MESSAGE_BYTES_MAX: Final = 65_536
FRAME_BYTES_MAX: Final = 8 * 2**20
FRAME_OPERATIONS_MAX: Final = 1_000
# A part of a message, begun in one turn of the event loop.
OPERATIONS_A_TURN: Final = 32
# Operations of a stream whose results have not left yet.
SESSION_OPERATIONS_MAX: Final = 10_000

# Calls that one connection may have open at once: ten thousand that wait, and some that end the waiting.
CALLS_A_CONNECTION: Final = 10_240
# Calls that a replica has open beside those that may wait; each costs some 20 KB until it has said what it wants.
RUNNING_CALLS_MAX: Final = 4_000
# A connection is sent away at this age, give or take a tenth; then it may finish what the longest wait allows.
CONNECTION_AGE_MS: Final = 300_000
# Whoever has not greeted as HTTP/2 and TLS want it after this long is disconnected.
HANDSHAKE_MS: Final = 10_000
# A connection that is silent so long is pinged, and is gone when it does not answer in time.
KEEPALIVE_MS: Final = 30_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000
# Clients may ping this often; those that do so more often are disconnected.
PING_MS_MIN: Final = 10_000

VERSION_MAX: Final = 2**53 - 1

TTL_MS_MIN: Final = 100
TTL_MS_MAX: Final = 3_600_000
TTL_MS_DEFAULT: Final = 10_000
WAIT_MS_MAX: Final = 3_600_000
HOLD_MS_MAX: Final = 3_600_000
RETENTION_MS_MIN: Final = 1_000
RETENTION_MS_MAX: Final = 30 * 86_400_000
RETENTION_MS_DEFAULT: Final = 86_400_000

LIST_LOCKS_DEFAULT: Final = 1_000
LIST_LOCKS_MAX: Final = 100_000
INSPECT_WAITERS_MAX: Final = 1_000

# A hand-off is first written for this long; its replica confirms it (scripts/queue.lua has the same number).
CONFIRM_MS: Final = 1_400
# A waiting call that ended without an answer keeps its place this long, when it has a request_id.
PLACE_KEPT_MS: Final = 5_000
# Each replica looks at the buckets in which it has waiting calls at least this often ...
SWEEP_MS: Final = 400
# ... and at all other buckets once in this time, so that expired leases are counted and forgotten.
SWEEP_ALL_MS: Final = 10_000
# Two sweeps of one bucket are never closer than this.
SWEEP_MS_MIN: Final = 5

BUCKETS: Final = 256
# Counters are seeded from the clock; one that is further off than this is not trusted.
CLOCK_ERROR_MS_MAX: Final = 500

RECONNECT_MS_MIN: Final = 20
RECONNECT_MS_MAX: Final = 1_000
READ_ONCE_MORE_MS: Final = 5
# Each Redis is asked this often whether it may still be used, its clock included.
PROBE_MS: Final = 500
# Sentinels, and the nodes of a Cluster, are asked this often who the primaries are.
TOPOLOGY_MS: Final = 100
# Replicas, or the disk, have this share of the Redis timeout to confirm what an answer is about to say.
CONFIRM_SHARE: Final = 0.6
# A bucket that is on its way to another shard, or whose slot to another node, is asked again after this long ...
MOVING_MS: Final = 3
# ... and is unavailable after so long; a move that was interrupted has been undone by then.
MOVING_MS_MAX: Final = 4_000
REDIS_MAJOR_MIN: Final = 7
# So many calls for a shard are worth a write of their own: they leave though others are still on their way ...
BATCH_CALLS_MIN: Final = 12
# ... and fewer once no other has come for so many turns of the event loop, but after this time at the latest.
QUIET_TURNS: Final = 6
GATHER_MS_MAX: Final = 1
# So many calls of one script are run as one: nothing else happens in Redis meanwhile, for about half a millisecond.
SHARED_CALLS_MAX: Final = 32
# Calls that may wait for one shard's answers at once; more means that it has stopped answering.
SHARD_CALLS_MAX: Final = 100_000
# A replica that goes away refuses new calls this long before it closes its port.
REFUSE_MS: Final = 200
# A call that ended while its shard was away tells it again at this interval.
LEAVE_AGAIN_MS: Final = 100

# The file of credentials is looked at this often.
AUTH_FILE_MS: Final = 500
AUTH_FILE_BYTES_MAX: Final = 4 * 2**20
CREDENTIALS_MAX: Final = 10_000
# A token is so many random bytes, in base64 of so many characters; no shorter one is accepted.
TOKEN_BYTES: Final = 32
TOKEN_CHARACTERS_MIN: Final = 43
NAMESPACE_LIMIT_MAX: Final = 10**9

# The leases of namespaces that have such a limit are counted once in this time ...
CENSUS_MS: Final = 5_000
# ... and their remembered events reported at most so often.
LEDGER_MS: Final = 1_000
# Moments at which events are forgotten are kept with so many significant bits.
EVENT_SLOT_BITS: Final = 5

# So many refusals of one caller are written at once, and then one in this time: 30 MB a day at most.
AUDIT_BURST: Final = 50
AUDIT_PAUSE_S: Final = 1.0
AUDIT_EVENTS_KEPT: Final = 200
AUDIT_CALLERS_MAX: Final = 2 * CREDENTIALS_MAX

# The console looks again after this long while somebody watches, so that a new lock shows within a second ...
CONSOLE_LOOK_MS: Final = 600
# ... at so many buckets in which something was granted since, and at so many others, all in turn;
CONSOLE_GRANTED_BUCKETS: Final = 64
CONSOLE_OTHER_BUCKETS: Final = 32
# and at so many leases of each bucket, or at more where all shards together have few.
CONSOLE_LOOKS: Final = 8
CONSOLE_FEW_LOCKS: Final = 1_024
CONSOLE_LOOKS_FEW: Final = 32
# It shows so many resources held longest, so many waited for most with so many waiters each, and so many events.
CONSOLE_LONGEST: Final = 12
CONSOLE_BUSIEST: Final = 8
CONSOLE_WAITERS: Final = 12
CONSOLE_ENDED: Final = 50
# Pages open at once, and different views (of credentials with other namespaces or prefixes) that they may have.
CONSOLE_WATCHERS_MAX: Final = 64
CONSOLE_VIEWS_MAX: Final = 8
CONSOLE_REQUEST_BYTES_MAX: Final = 16_384
# A slice of the latency lines, and how many there are: five minutes.
TREND_MS: Final = 5_000
TREND_SLICES: Final = 60
# A refusal for too many calls is kept back for a time between these: it slows who calls again at every answer.
REFUSAL_MS_MIN: Final = 250
REFUSAL_MS_MAX: Final = 750
# So many of them are told at once on a stream.
REFUSALS_AT_ONCE: Final = 100
