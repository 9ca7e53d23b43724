"""The kinds of text that settings are written in: durations, and addresses to listen on."""

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, Final

import click

from lockservice.durations import format_ms, parse_ms

_PORT_MAX: Final = 65_535
# Only brackets tell the colons of an IPv6 address from the one before the port.
_ADDRESS: Final = re.compile(r"(\[[^\[\]\s]+\]|[^\[\]:/\s]+):(?P<port>[0-9]{1,5})")


class Duration(click.ParamType[int]):
    """A duration from min_ms to max_ms, kept in milliseconds."""

    name = "duration"

    def __init__(self, min_ms: int, max_ms: int) -> None:
        self._min_ms = min_ms
        self._max_ms = max_ms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Reads the text of a flag, a variable or the file; a number without a unit is refused."""
        try:
            ms = parse_ms(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if ms < self._min_ms:
            self.fail(f"{value} is too short: at least {format_ms(self._min_ms)}", param, ctx)
        if ms > self._max_ms:
            self.fail(f"{value} is too long: at most {format_ms(self._max_ms)}", param, ctx)
        return ms


class Address(click.ParamType[str]):
    """HOST:PORT."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Checks the form; port 0 picks a free port."""
        match = _ADDRESS.fullmatch(str(value))
        if match is None or int(match["port"]) > _PORT_MAX:
            self.fail(f"{value!r} is no HOST:PORT, such as 127.0.0.1:50051 or [::1]:50051", param, ctx)
        return str(value)


class Levels(click.ParamType[str]):
    """Levels of durability or exclusion, kept as they are written."""

    name = "level"

    def __init__(self, read: Callable[[str], object]) -> None:
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Checks what is written."""
        try:
            self._read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


def is_loopback(address: str) -> bool:
    """Says whether only this machine can reach a HOST:PORT."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
