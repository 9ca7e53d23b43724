"""The runbook and the sizes: nothing that an operator may meet is missing, and no figure is made up."""

import importlib.util
import itertools
import re
from typing import Any

import pytest

from harness.manifests import DEPLOY
from lockservice.v1 import lockservice_pb2 as pb

# What is measured is so many times what is written down: Valkey takes less than half of what Redis takes for some,
# and tables that have just grown have room to spare.
LEAST, MOST = 0.4, 1.5


def headings(page: str) -> set[str]:
    """Returns the headings of a page."""
    return set(re.findall(r"^#+ (.+)$", (DEPLOY / page).read_text(), re.MULTILINE))


def anchors(page: str) -> set[str]:
    """Returns what a link may name on a page."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings(page)}


@pytest.fixture(scope="module")
def sizing() -> Any:
    """The program beside the page."""
    spec = importlib.util.spec_from_file_location("sizing", DEPLOY / "sizing.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_reason_has_its_section() -> None:
    """An error that a caller can see is in the runbook, by the name that it sees."""
    reasons = {name.removeprefix("ERROR_REASON_") for name in pb.ErrorReason.DESCRIPTOR.values_by_name}
    reasons.remove("UNSPECIFIED")
    assert reasons
    assert reasons <= headings("runbook.md")


@pytest.mark.parametrize("page", sorted(path.name for path in DEPLOY.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    """A link from one of the pages to another, or within one, has a heading at its end."""
    for target, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", (DEPLOY / page).read_text()):
        assert (DEPLOY / (target or page)).exists(), target
        if anchor:
            assert anchor in anchors(target or page), (target, anchor)


def test_the_table_is_the_programs(sizing: Any) -> None:
    """The page shows what the program works out from the figures on the page."""
    assert sizing.table(sizing.RECORDED) in (DEPLOY / "sizing.md").read_text()


def test_more_orders_never_need_less(sizing: Any) -> None:
    """Every number of the table grows with the orders, and a replica may always be away."""
    needs = [sizing.need(orders, sizing.RECORDED) for orders in sizing.ORDERS]
    for less, more in itertools.pairwise(needs):
        assert less.memory_mib < more.memory_mib
        assert less.shards <= more.shards
        assert less.replicas <= more.replicas
    assert min(need.replicas for need in needs) >= 2


async def test_the_figures_are_measured(sizing: Any) -> None:
    """What is written down is near what is measured now."""
    _, cost = await sizing.measure(5_000)
    for name, bytes_of_one in cost._asdict().items():
        written = getattr(sizing.RECORDED, name)
        assert LEAST * written <= bytes_of_one <= MOST * written, name
