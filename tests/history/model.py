"""The model of one resource: what every call must answer. Pure; it knows neither Redis nor gRPC."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Ask:
    """What a caller asks for."""

    owner: str
    request_id: str
    version: int | None
    event_id: str


@dataclass
class Model:
    """A resource as it must be.

    Attributes:
        holder: who holds it.
        token: the highest fencing token that was granted.
        queue: who waits, in the order of arrival.
    """

    holder: Ask | None = None
    token: int = 0
    completed: int | None = None
    done: set[str] = field(default_factory=set)
    queue: list[Ask] = field(default_factory=list)

    def refusal(self, ask: Ask) -> str:
        """Says why an event need not be processed: duplicate or stale, or nothing."""
        if ask.event_id in self.done:
            return "duplicate"
        if ask.version is not None and self.completed is not None and ask.version < self.completed:
            return "stale"
        return ""

    def attempt(self, ask: Ask) -> str:
        """Answers a call that does not wait."""
        if self.holder == ask and ask.request_id:
            return "again"
        refused = self.refusal(ask)
        if refused:
            return refused
        if self.holder is not None:
            return "held"
        self.holder = ask
        return "granted"

    def wait(self, ask: Ask) -> str:
        """Answers a call that waits; "waiting" when it has to."""
        answer = self.attempt(ask)
        if answer == "held":
            self.queue.append(ask)
            return "waiting"
        return answer

    def come_back(self, ask: Ask) -> str:
        """Answers a waiting call that was cut off and is repeated: looked at like any call, in its old place."""
        refused = self.refusal(ask)
        if refused:
            self.queue.remove(ask)
        return refused or "waiting"

    def end(self, *, done: bool) -> dict[Ask, str]:
        """Ends the lease, and returns which waiters are answered now, and what."""
        assert self.holder is not None
        ended, self.holder = self.holder, None
        answers: dict[Ask, str] = {}
        if done and ended.version is not None:
            self.completed = max(ended.version, self.completed if self.completed is not None else -1)
        if done and ended.event_id:
            self.done.add(ended.event_id)
        for ask in list(self.queue):
            if self.refusal(ask) == "stale":
                self._leave(ask, answers, "stale")
        while self.queue and self.holder is None:
            first = min(
                self.queue, key=lambda ask: (-1 if ask.version is None else ask.version, self.queue.index(ask))
            )
            refused = self.refusal(first)
            self._leave(first, answers, refused or "granted")
            if not refused:
                self.holder = first
        return answers

    def _leave(self, ask: Ask, answers: dict[Ask, str], word: str) -> None:
        self.queue.remove(ask)
        # A stale event that was completed too is told whichever is looked at first: duplicate.
        answers[ask] = "duplicate" if ask.event_id in self.done else word
