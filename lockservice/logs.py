"""Log lines: JSON for machines, text on a terminal, never a secret."""

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

# Greedy: a password that holds an @ or a / itself must not show its end.
_PASSWORD: Final = re.compile(r"(\w+://)\S*@")
_REQUEST_ID: Final = "x-request-id"
# How to read what the caller of the running call sent beside its request.
CALLER: Final[ContextVar[Callable[[], Iterable[tuple[str, Any]] | None] | None]] = ContextVar("caller", default=None)
_PARAMETER: Final = re.compile(r"([?&]password=)[^&\s\"']+")


def mask(text: str) -> str:
    """Hides the credentials of URLs in a text."""
    return _PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1***@", text))


def _with_request_id(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Adds the x-request-id that the caller of this call sent. Only a line that is written pays for the search."""
    metadata = CALLER.get()
    for name, value in (metadata and metadata()) or ():
        if name == _REQUEST_ID:
            event["request_id"] = value
    return event


def _masked(render: Processor) -> Processor:
    # The finished line is masked, so that nothing inside a list or an object slips through.
    def render_and_mask(logger: Any, method: str, event: EventDict) -> str:
        return mask(str(render(logger, method, event)))

    return render_and_mask


def _log_crash(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if error is not None:
        logging.getLogger("lockservice").critical("crashed", exc_info=(kind, error, trace))


def set_up(log_format: str | None, log_level: str) -> None:
    """Sends every log line to standard error; without a format JSON, or text on a terminal."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_request_id,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    text = log_format == "text" or (log_format is None and sys.stderr.isatty())
    render: Processor = (
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            # A script may look for the words `ready grpc=`.
            pad_event_to=0,
            sort_keys=False,
            # Other formatters show local variables, secrets among them.
            exception_formatter=structlog.dev.plain_traceback,
        )
        if text
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _masked(render)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=log_level.upper(), force=True)
    # Their lines at info say nothing that an operator could act on.
    for name in ("aiohttp.access", "asyncio"):
        logging.getLogger(name).setLevel("WARNING")
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_crash
    threading.excepthook = lambda crash: _log_crash(crash.exc_type, crash.exc_value, crash.exc_traceback)
