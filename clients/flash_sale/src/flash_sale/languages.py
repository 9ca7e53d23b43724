"""The languages that workers are written in. Python always takes part; others do where their toolchain is.

Each has a directory in `clients/flash_sale/workers` with a `worker.toml`:

    toolchain = ["go"]                      # programs that must be there
    build = ["go build -o ../../../../build/go-worker ."]
    run = ["../../../../build/go-worker"]   # the program and its first arguments; paths are from that directory
"""

import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

PYTHON: Final = "python"
_WORKERS: Final = Path(__file__).parents[2] / "workers"
_BUILD_S: Final = 900.0


class Language(NamedTuple):
    """A language that takes part; run starts a worker from the directory."""

    name: str
    directory: Path
    run: tuple[str, ...]


_PYTHON: Final = Language(PYTHON, Path(), (sys.executable, "-m", "flash_sale.worker"))


def known() -> tuple[str, ...]:
    """Lists the languages that there are workers in."""
    return (PYTHON, *sorted(path.parent.name for path in _WORKERS.glob("*/worker.toml")))


def missing(name: str) -> str:
    """Names the program that is missing for a language on this machine; empty: none is."""
    if name == PYTHON:
        return ""
    return next((program for program in _plan(name)["toolchain"] if shutil.which(program) is None), "")


def build(name: str) -> Language:
    """Builds the worker of a language.

    Raises:
        click.ClickException: with what the build said.
    """
    if name == PYTHON:
        return _PYTHON
    directory, plan = _WORKERS / name, _plan(name)
    for command in plan["build"]:
        _build(name, command, directory)
    first, *more = plan["run"]
    program = shutil.which(first) or str(directory / first)
    return Language(name, directory, (program, *more))


def _plan(name: str) -> dict[str, Any]:
    return tomllib.loads((_WORKERS / name / "worker.toml").read_text(encoding="utf-8"))


def _build(name: str, command: str, directory: Path) -> None:
    words: Sequence[str] = shlex.split(command)
    try:
        built = subprocess.run(
            words,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_BUILD_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise click.ClickException(f"the worker in {name} cannot be built: {error}") from None
    if built.returncode != 0:
        raise click.ClickException(f"the worker in {name} cannot be built:\n{built.stdout}{built.stderr}")
