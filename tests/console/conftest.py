"""Fixtures of the console's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from console.browser import Browser
from console.guarded import Guarded
from harness.service import Service


@pytest.fixture
async def guarded(shards: list[str], tmp_path: Path) -> AsyncIterator[Guarded]:
    """A replica with three credentials, on the same shards as `service`, which has none."""
    async with Guarded(shards, tmp_path / "auth.toml") as running:
        yield running


@pytest.fixture
async def browser(service: Service) -> AsyncIterator[Browser]:
    """A page on the console of a service, which must say nothing and call nobody."""
    async with Browser(service.server.ops_addr) as made:
        yield made
        assert not made.said
        assert not made.elsewhere()
