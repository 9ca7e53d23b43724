"""The clients that there are, and what each says of itself in its `stand.toml`."""

import re
import shutil
import tomllib
from pathlib import Path
from typing import Final, NamedTuple

CLIENTS: Final = Path(__file__).parents[3]
_PROMISE: Final = re.compile(r"^- \*\*(S\d\d)\*\* ", re.MULTILINE)


class Plan(NamedTuple):
    """What `stand.toml` says; commands are for a shell, in the client's directory.

    Attributes:
        name: of the language, and of its directory.
        directory: the client's.
        toolchain: programs that must be there.
        build: makes the package.
        test: installs and tests it.
        junit: where results are, as a pattern.
        bench: prints a line of figures; empty: nothing does.
        steady: calls at a steady rate until its input ends; empty: nothing does.
    """

    name: str
    directory: Path
    toolchain: list[str]
    build: list[str]
    test: list[str]
    junit: str
    bench: str
    steady: str

    @property
    def missing(self) -> str:
        """The first program that is not installed; empty: all are."""
        return next((program for program in self.toolchain if shutil.which(program) is None), "")


def promises(clients: Path = CLIENTS) -> list[str]:
    """Lists the numbers of what every client does."""
    return _PROMISE.findall(clients.joinpath("scenarios.md").read_text(encoding="utf-8"))


def plans(clients: Path = CLIENTS) -> list[Plan]:
    """Lists the clients by name."""
    return [_plan(path) for path in sorted(clients.glob("*/stand.toml"))]


def _plan(path: Path) -> Plan:
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    return Plan(
        name=path.parent.name,
        directory=path.parent,
        toolchain=said["toolchain"],
        build=said["build"],
        test=said["test"],
        junit=said["junit"],
        bench=said.get("bench", ""),
        steady=said.get("steady", ""),
    )
