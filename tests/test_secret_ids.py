"""Ids that go to callers."""

from lockservice.secret_ids import next_secret_id


def test_an_id_can_be_given_on_a_command_line() -> None:
    """Of 22 characters each, no two alike, and none that would be taken for an option."""
    ids = [next_secret_id() for _ in range(10_000)]

    assert len(set(ids)) == len(ids)
    assert {len(text) for text in ids} == {22}
    assert not [text for text in ids if text.startswith("-")]
