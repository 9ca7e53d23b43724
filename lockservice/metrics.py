"""Every metric of the service: its name, labels and buckets, and nothing else.

No resource, key, owner or namespace is ever a label: their number has no bound, and a scrape must stay small.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import grpc
from prometheus_client import CollectorRegistry, Gauge

from lockservice import __version__
from lockservice.tally import Count, Counter, Distribution, Histogram
from lockservice.tracing import Tracing

# The 10 ms at which operators shard further is a boundary of every latency histogram.
CALL_BUCKETS_S: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30)
REDIS_BUCKETS_S: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
WAIT_BUCKETS_S: Final = (0.05, 1, 10, 60)
HOLD_BUCKETS_S: Final = (0.05, 0.5, 5, 60, 300, 3600)
BATCH_BUCKETS: Final = (1, 8, 64, 512)

# The script with a latency of its own in each shard; the others share one label, so that four shards stay within the
# series that a replica may have.
SCRIPTS: Final = ("acquire",)
# Operators call its methods by hand: they are counted, but nobody watches how long they take.
_UNTIMED_SERVICE: Final = "lockservice.v1.LockAdminService"

_OK: Final = grpc.StatusCode.OK
_CALL_LABELS: Final = ("grpc_type", "grpc_service", "grpc_method")


def _code_name(code: grpc.StatusCode) -> str:
    """Writes a code as go-grpc-prometheus does, so that public dashboards match: OK, DeadlineExceeded."""
    return "OK" if code is _OK else code.name.replace("_", " ").title().replace(" ", "")


_Child = TypeVar("_Child", Count, Distribution)


class Children(dict[str, _Child]):
    """The children of a metric by the value of its one label, each made when it is first used."""

    def __init__(self, make: Callable[[str], _Child]) -> None:
        super().__init__()
        self._make: Callable[[str], _Child] = make

    def __missing__(self, label: str) -> _Child:
        child: _Child = self._make(label)
        self[label] = child
        return child


class CallMetrics:
    """The metrics of one gRPC method, ready to be used without looking labels up."""

    def __init__(self, metrics: "Metrics", labels: Sequence[str]) -> None:
        self._metrics = metrics
        self._labels = tuple(labels)
        self._started: Count | None = None
        self._seconds: Distribution | None = None
        # By the names of codes: an enumeration's own hash is a Python function, for every call.
        self._codes: dict[str, Count] = {}

    def began(self) -> None:
        """Counts a call that has begun."""
        if self._started is None:
            self._started = self._metrics.grpc_started.labels(*self._labels)
            if self._labels[1] != _UNTIMED_SERVICE:
                self._seconds = self._metrics.grpc_seconds.labels(*self._labels)
        self._started.inc()

    def refused(self, reason: str) -> None:
        """Counts a call that was refused."""
        self._metrics.errors[reason].inc()

    def ended(self, code: grpc.StatusCode, seconds: float) -> None:
        """Counts a call that ended with a code after a time."""
        if self._seconds is not None:
            self._seconds.observe(seconds)
            if self._metrics.tracing is not None:
                self._seconds.mark(seconds, self._metrics.tracing.trace_id())
        name = "OK" if code is _OK else _code_name(code)
        counter = self._codes.get(name)
        if counter is None:
            counter = self._codes[name] = self._metrics.grpc_handled.labels(*self._labels, name)
        counter.inc()


class Metrics:
    """All metrics of one replica, in one registry.

    Attributes:
        tracing: makes spans too, where somebody asks for them.
    """

    def __init__(self, registry: CollectorRegistry, tracing: Tracing | None = None) -> None:
        self.registry = registry
        self.tracing = tracing
        self._of_grpc()
        self._of_locks()
        self._of_shards()
        self._gauges()

    def _histogram(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)

    def _counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _outcomes(self, name: str, text: str) -> Children[Count]:
        return Children(self._counter(name, text, ("outcome",)).labels)

    def _of_grpc(self) -> None:
        self.grpc_started = self._counter("grpc_server_started_total", "Calls begun.", _CALL_LABELS)
        self.grpc_handled = self._counter(
            "grpc_server_handled_total", "Calls ended, by status code.", (*_CALL_LABELS, "grpc_code")
        )
        self.grpc_seconds = self._histogram(
            "grpc_server_handling_seconds", "How long calls of workers took.", _CALL_LABELS, CALL_BUCKETS_S
        )

    def _of_locks(self) -> None:
        acquire = self._histogram(
            "lockservice_acquire_duration_seconds",
            "The lock latency: a whole Acquire, waiting included.",
            ("outcome",),
            CALL_BUCKETS_S,
        )
        wait = self._histogram(
            "lockservice_wait_duration_seconds", "Acquires that had to queue.", ("outcome",), WAIT_BUCKETS_S
        )
        hold = self._histogram(
            "lockservice_hold_duration_seconds", "How long leases were held.", ("end",), HOLD_BUCKETS_S
        )
        self.acquire_duration = Children(acquire.labels)
        self.wait_duration = Children(wait.labels)
        self.hold_duration = Children(hold.labels)
        self.handoff_duration = self._histogram(
            "lockservice_handoff_duration_seconds",
            "From a release to the answer of the next waiter.",
            (),
            CALL_BUCKETS_S,
        ).labels()
        self.errors = Children(
            self._counter(
                "lockservice_errors_total", "Calls and operations refused, by ErrorReason, or INTERNAL.", ("reason",)
            ).labels
        )
        self.dedupe = self._outcomes("lockservice_dedupe_total", "Dedupe calls.")
        self.release = self._outcomes("lockservice_release_total", "Release calls.")
        self.renew = self._outcomes("lockservice_renew_total", "Renew calls.")
        self.settle = self._outcomes("lockservice_settle_total", "Settle calls.")
        self.renew_claim = self._outcomes("lockservice_renew_claim_total", "RenewClaim calls.")
        self.lease_expirations = self._counter(
            "lockservice_lease_expirations_total", "Leases that ran out without a release."
        ).labels()
        self.claim_expirations = self._counter(
            "lockservice_claim_expirations_total", "Claims that ran out without being settled."
        ).labels()

    def _of_shards(self) -> None:
        self.redis_duration = self._histogram(
            "lockservice_redis_duration_seconds",
            "One script call, batching included. Shard further when acquire creeps above 10 ms.",
            ("shard", "script"),
            REDIS_BUCKETS_S,
        )
        self.redis_batch_size = self._histogram(
            "lockservice_redis_batch_size", "Script calls in one write.", ("shard",), BATCH_BUCKETS
        )
        self.redis_errors = self._counter(
            "lockservice_redis_errors_total", "Script calls that failed.", ("shard", "kind")
        )
        self.shard_incarnations = self._counter(
            "lockservice_shard_incarnations_total", "Redis processes seen behind the shard.", ("shard",)
        )
        self.evicted_keys = self._counter(
            "lockservice_redis_evicted_keys_total", "Keys that the shard's Redis deleted for memory.", ("shard",)
        )
        self.shard_up = self._gauge("lockservice_shard_up", "1 while the shard may be used.", "shard")
        self.clock_offset = self._gauge(
            "lockservice_shard_clock_offset_seconds",
            "How far the shard's clock is ahead of this replica's, as far as that is certain.",
            "shard",
        )
        self.hold_off = self._gauge(
            "lockservice_shard_hold_off",
            "1 while a part of the shard grants nothing after a change of primary.",
            "shard",
        )
        self.evicts = self._gauge(
            "lockservice_redis_evicts", "1 while the shard's maxmemory-policy lets Redis delete live leases.", "shard"
        )
        self.memory_ratio = self._gauge(
            "lockservice_redis_memory_ratio", "The share of maxmemory that is in use; 0 without a maxmemory.", "shard"
        )

    def _gauges(self) -> None:
        self.holds = self._gauge("lockservice_holds", "Resources kept for a retry, in all shards.")
        self.waiters = self._gauge("lockservice_waiters", "Calls waiting in this replica.")
        self.waiters_limit = self._gauge("lockservice_waiters_limit", "Calls that may wait in this replica.")
        self.sessions = self._gauge("lockservice_sessions", "Open Session streams.")
        self.draining = self._gauge("lockservice_draining", "1 while this replica goes away.")
        self.drain_overdue = self._gauge(
            "lockservice_drain_overdue_seconds", "How long this replica should have been gone; 0 when it should not."
        )
        self.certificate_expiry = self._gauge(
            "lockservice_certificate_expiry_timestamp_seconds",
            "When the first certificate in a file runs out; 0: it cannot be read. of is server or client_ca.",
            "of",
        )
        build = self._gauge("lockservice_build_info", "The version, as a label.", "version")
        build.labels(__version__).set(1)

    def redis(self, shard: str) -> Children[Distribution]:
        """Makes the latency of a shard: of acquire, and of the other scripts together."""
        return Children(lambda script: self.redis_duration.labels(shard, script if script in SCRIPTS else "other"))

    def calls(self, service: str, method: str, grpc_type: str) -> CallMetrics:
        """Makes the metrics of a gRPC method of a type: unary, server_stream or bidi_stream."""
        return CallMetrics(self, (grpc_type, service, method))

    def forget(self, shard: str) -> None:
        """Shows no state of a shard any more that this replica has left."""
        for gauge in (self.shard_up, self.clock_offset, self.hold_off, self.evicts, self.memory_ratio):
            with contextlib.suppress(KeyError):
                gauge.remove(shard)

    def watch(self, *, holds: Callable[[], float], waiters: Callable[[], float]) -> None:
        """Has the gauges read what is true at the moment of a scrape."""
        self.holds.set_function(holds)
        self.waiters.set_function(waiters)
