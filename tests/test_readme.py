"""The README: its tables are the code's, and what it tells people to type works."""

from pathlib import Path

from lockservice.cli import show_config
from lockservice.reference import fill_in

README = Path(__file__).parent.parent / "README.md"


def test_tables_are_current() -> None:
    """Settings and metrics stand as the code has them; `make docs` writes them."""
    text = README.read_text()

    assert fill_in(text, show_config) == text


def test_a_changed_default_would_be_noticed() -> None:
    """The broken variant: a table with another default is told apart."""
    text = README.read_text()
    stale = text.replace("| 250ms |", "| 300ms |")

    assert stale != text
    assert fill_in(stale, show_config) != stale
