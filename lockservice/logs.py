"""Log lines: JSON for machines, text on a terminal, never a secret."""

import logging
import re
import sys
from typing import Any, Final

import structlog
from structlog.typing import EventDict, Processor

_PASSWORD: Final = re.compile(r"(\w+://)\S*@")


def mask(text: str) -> str:
    """Hides the credentials of URLs in a text."""
    return _PASSWORD.sub(r"\1***@", text)


def _mask_all(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {key: mask(value) if isinstance(value, str) else value for key, value in event.items()}


def set_up(log_format: str | None, log_level: str) -> None:
    """Sends every log line to standard error; without a format JSON, or text on a terminal."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _mask_all,
    ]
    text = log_format == "text" or (log_format is None and sys.stderr.isatty())
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if text
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=log_level.upper(), force=True)
    # Their lines at info say nothing that an operator could act on.
    for name in ("aiohttp.access", "asyncio"):
        logging.getLogger(name).setLevel("WARNING")
    sys.excepthook = lambda kind, error, trace: logging.getLogger("lockservice").critical(
        "crashed", exc_info=(kind, error, trace)
    )
