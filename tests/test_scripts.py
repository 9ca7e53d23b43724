"""The Lua files: their headers are true, and what is sent is clean."""

import os
import re
import shutil
import subprocess
from importlib.resources import files

import pytest

from lockservice import limits
from lockservice.shards.script import COMMON, MAP_NAMES, NAMES, TOGETHER, load, read

ALL = NAMES + MAP_NAMES
SHARED = {"bucket", "seeded", "times", "clock", "lease", "queue", "claim"}


def test_every_file_is_a_script_or_a_shared_part() -> None:
    """A file that nobody sends is dead."""
    folder = files("lockservice").joinpath("scripts")
    found = {entry.name.removesuffix(".lua") for entry in folder.iterdir() if entry.name.endswith(".lua")}

    assert found == set(ALL) | SHARED


@pytest.mark.parametrize(
    ("name", "many"), [*((name, False) for name in ALL), *((name, True) for name in sorted(TOGETHER))]
)
def test_luacheck_finds_nothing_in_what_is_sent(name: str, *, many: bool) -> None:
    """Undefined names, shadowing and unused values, in the whole text as Redis gets it, for one call or for many."""
    luacheck = shutil.which("luacheck")
    if luacheck is None:
        assert os.environ.get("CI") != "true", "Debian's package lua-check is missing"
        pytest.skip("luacheck is not installed")
    body = (load(name).many if many else load(name).text).split("\n", 1)[1]
    # A shared part defines more than each script uses, and one that is included late has parameters that are named
    # like the script's own values.
    ignored = ("211", "221", "431", "432")
    flags = ["--std", "lua51", "--read-globals", "redis", "KEYS", "ARGV", "cmsgpack", "cjson", "--ignore", *ignored]

    checked = subprocess.run(
        [luacheck, *flags, "--no-max-line-length", "-"], input=body, text=True, capture_output=True, check=False
    )

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ALL)
def test_every_argument_is_used(name: str) -> None:
    """An argument that the file names in its header stands in its code too."""
    own = read(name)
    code = "\n".join(line for line in own.splitlines() if not line.startswith("--"))

    for argument in load(name).arguments:
        assert re.search(rf"\b{argument}\b", code), argument


def test_a_call_with_other_arguments_is_refused() -> None:
    """The header is data: a missing, an unknown or one argument too many never reaches Redis."""
    script = load("renew")
    good = {"name": "n", "lease": "l", "ttl": 1}
    assert script.values(good) == ("n", "l", 1)

    for bad in ({"name": "n", "lease": "l"}, {**good, "more": 1}, {"name": "n", "lease": "l", "tll": 1}):
        with pytest.raises((KeyError, TypeError)):
            script.values(bad)  # type: ignore[arg-type]  # on purpose
    assert COMMON == ("run_id", "memory_ms")


def test_numbers_that_stand_in_lua_and_in_python_agree() -> None:
    """The same bound has the same number in both."""
    queue, bucket = read("queue"), read("bucket")

    assert f"CONFIRM_MS = {limits.CONFIRM_MS}\n" in queue
    assert f"PLACE_KEPT_MS = {limits.PLACE_KEPT_MS}\n" in queue
    assert f"'PX', {limits.CONFIRM_MS})" in bucket


def test_scripts_that_free_run_without_memory() -> None:
    """Renew, release, settle and their kind may run when Redis is full; what takes memory may not."""
    allowed = {name for name in NAMES if "allow-oom" in load(name).text.split("\n", 1)[0]}

    assert {"renew", "release", "force_release", "leave", "settle", "renew_claim", "unwatch", "sweep"} == allowed
