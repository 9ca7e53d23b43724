"""The workers of a sale: processes in several languages, on one stream, of which some are killed."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import click

from flash_sale import processes
from flash_sale.guards import Guarding
from flash_sale.languages import PYTHON, Language


class Place(NamedTuple):
    """Where workers work.

    Attributes:
        redis: URL for workers in Python.
        address: HOST:PORT of the same Redis for the others.
        guarding: what stands between the events of one order.
        server: HOST:PORT of lockservice, if it does.
        slots: events that each works on at once.
    """

    redis: str
    address: str
    guarding: Guarding
    server: str | None
    slots: int


class Crew:
    """Keeps so many workers at work, the languages in turns.

    Args:
        languages: at least one.
        place: where they work.
    """

    def __init__(self, languages: Sequence[Language], place: Place) -> None:
        self._languages = languages
        self._place = place
        self._numbers = {language.name: itertools.count(1) for language in languages}
        self._workers: list[tuple[str, Language, processes.Process]] = []

    def start(self, count: int) -> None:
        """Starts so many."""
        for language in itertools.islice(itertools.cycle(self._languages), count):
            self._start(language)

    def kill(self) -> str:
        """Kills the one that works longest, in the middle of its work, starts another, and returns its name."""
        name, language, process = self._workers.pop(0)
        process.kill()
        process.wait()
        self._start(language)
        return name

    def check(self) -> None:
        """Raises click.ClickException when one has ended by itself."""
        for name, _, process in self._workers:
            if process.poll() is not None:
                raise click.ClickException(f"{name} ended by itself with exit code {process.returncode}")

    async def stop(self) -> None:
        """Ends them."""
        await asyncio.gather(*(processes.stop(process) for _, _, process in self._workers))
        self._workers.clear()

    def _start(self, language: Language) -> None:
        name, place = f"{language.name}-{next(self._numbers[language.name])}", self._place
        redis = place.redis if language.name == PYTHON else place.address
        arguments = ["--redis", redis, "--guarding", place.guarding, "--name", name, "--slots", str(place.slots)]
        if place.server is not None:
            arguments += ["--server", place.server]
        process = processes.start(*language.run, *arguments, directory=language.directory)
        self._workers.append((name, language, process))
