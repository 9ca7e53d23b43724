"""What all commands of lockctl share: the way to the server, the form of the output, the exit codes."""

import functools
import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NoReturn, cast

import click

from lockservice_client import blocking, errors

EXIT_ERROR: Final = 1
EXIT_HELD: Final = 75
EXIT_DUPLICATE: Final = 76
EXIT_LOST: Final = 77

BY_REFUSAL: Final[dict[type[errors.Refused], int]] = {
    errors.Duplicate: EXIT_DUPLICATE,
    errors.Stale: EXIT_DUPLICATE,
    errors.Mismatch: EXIT_ERROR,
}


class Session:
    """The server to talk to, and how to print."""

    def __init__(self, how: dict[str, Any], *, as_json: bool) -> None:
        self.how = how
        self.as_json = as_json

    def connect(self, owner: str | None = None) -> blocking.Client:
        """Opens a client; a shell wants to hear of a server that is away rather soon."""
        return blocking.Client(owner=owner, retry_for=2.0, **self.how)

    def show(self, value: dict[str, Any], text: str = "") -> None:
        """Prints a value: as JSON, or as text, or else a line a field."""
        if self.as_json:
            click.echo(json.dumps(value, default=_plain))
        elif text:
            click.echo(text)
        else:
            for name, field in value.items():
                click.echo(f"{name}: {'' if field is None else field}")


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.isoformat() if isinstance(value, datetime) else str(value)


def refuse(error: errors.Refused) -> NoReturn:
    """Prints why not, and exits with its code."""
    click.echo(f"lockctl: {error}", err=True)
    sys.exit(BY_REFUSAL.get(type(error), EXIT_HELD))


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
            refuse(error)
        except errors.LeaseLost as error:
            click.echo(f"lockctl: {error}", err=True)
            sys.exit(EXIT_LOST)
        except (errors.ServiceError, ValueError, OSError) as error:
            click.echo(f"lockctl: {error}", err=True)
            sys.exit(EXIT_ERROR)

    return cast("Callable[..., Any]", call)
