"""What all commands of lockctl share: the way to the server, the form of the output, the exit codes."""

import functools
import json
import re
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NoReturn, cast

import click

from lockservice_client import blocking, errors
from lockservice_client.lockctl.visible import visible

EXIT_ERROR: Final = 1
EXIT_HELD: Final = 75
EXIT_DUPLICATE: Final = 76
EXIT_LOST: Final = 77

# A shell wants to hear of a server that is away rather soon.
RETRY_S: Final = 2.0
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")

_SNAKE: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")

_BY_REFUSAL: Final[dict[type[errors.Refused], int]] = {
    errors.Duplicate: EXIT_DUPLICATE,
    errors.Stale: EXIT_DUPLICATE,
    errors.Mismatch: EXIT_ERROR,
}


class _Seconds(click.ParamType[float]):
    """Seconds, as a number or with a unit: `10`, `250ms`, `5m`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = _DURATION.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no duration: write seconds, or a number with ms, s, m, h or d", param, ctx)
        return float(match[1]) * _UNITS[match[2] or "s"]


SECONDS: Final = _Seconds()


class Session:
    """The server to talk to, and how to print."""

    def __init__(self, how: dict[str, Any], *, as_json: bool) -> None:
        self.how = how
        self.as_json = as_json
        self.shown = False

    def connect(self, owner: str | None = None, *, unready: bool = False) -> blocking.Client:
        """Opens a client; unready: to look, also at a replica that is not ready for work."""
        # A command makes few calls, too few for a stream to pay.
        return blocking.Client(owner=owner, retry_for=RETRY_S, unary=True, unready=unready, **self.how)

    def show(self, value: dict[str, Any], text: str = "") -> None:
        """Prints a value: as JSON, or as text, or else a line a field; what a terminal would obey is escaped."""
        self.shown = True
        if self.as_json:
            click.echo(json.dumps(value, default=_plain))
        elif text:
            click.echo(visible(text, keep="\n"))
        else:
            for name, field in value.items():
                click.echo(visible(f"{name}: {'' if field is None else field}"))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _fail(session: Session, error: Exception, code: int) -> NoReturn:
    """Prints what went wrong, in JSON also on standard output, and exits."""
    if session.as_json and not session.shown:
        fields = {"error": _SNAKE.sub("_", type(error).__name__).lower(), "message": str(error)}
        session.show({**fields, **({"reason": error.reason} if isinstance(error, errors.ServiceError) else {})})
    click.echo(f"lockctl: {visible(str(error))}", err=True)
    sys.exit(code)


def command(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the session, and turns what the client raises into messages and exit codes."""

    @click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="Form of the output.")
    @click.pass_obj
    @functools.wraps(function)
    def call(session: Session, /, output: str, **arguments: Any) -> Any:
        session.as_json = session.as_json or output == "json"
        try:
            return function(session, **arguments)
        except errors.Refused as error:
            _fail(session, error, _BY_REFUSAL.get(type(error), EXIT_HELD))
        except errors.LeaseLost as error:
            _fail(session, error, EXIT_LOST)
        except (errors.ServiceError, ValueError, OSError) as error:
            _fail(session, error, EXIT_ERROR)

    return cast("Callable[..., Any]", call)
