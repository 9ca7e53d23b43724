"""The lock-set test in short: what a check of the token saves, and what is lost without any."""

from lock_set.run import play

SECONDS = 14.0


async def test_without_a_check_updates_are_lost() -> None:
    """The broken variant that the other catches: a holder that paused past its lease overwrites what followed."""
    done = await play("none", SECONDS)

    assert done.pauses >= 2
    assert done.added >= 10
    assert done.lost > 0


async def test_with_the_token_none_is() -> None:
    """The store refuses what the paused holders write, and loses nothing that it took."""
    done = await play("token", SECONDS)

    assert done.pauses >= 2
    assert done.added >= 10
    assert done.lost == 0
    assert done.refused > 0
