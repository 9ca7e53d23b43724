"""Fixtures of the console's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.guarded import Guarded


@pytest.fixture
async def guarded(shards: list[str], tmp_path: Path) -> AsyncIterator[Guarded]:
    """A replica with three credentials, on the same shards as `service`, which has none."""
    async with Guarded(shards, tmp_path / "auth.toml") as running:
        yield running
