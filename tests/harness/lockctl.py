"""The command lockctl, as operators run it."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).parent / "lockctl"


def environment() -> dict[str, str]:
    """Returns this process's environment without what would change lockctl."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("LOCKSERVICE_")}
    return {name: text for name, text in kept.items() if not name.lower().endswith("proxy")}


async def run(*words: str, **variables: str) -> tuple[int, str, str]:
    """Runs it, and returns its exit code and what it wrote to standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *words,
        env={**environment(), **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def lines(*words: str, **variables: str) -> tuple[int, list[dict[str, Any]]]:
    """Runs it with -o json, and returns its exit code and the objects that it wrote."""
    code, out, err = await run(*words, "-o", "json", **variables)
    assert "lockctl:" not in err or not out, err
    assert "Traceback" not in err, err
    return code, [json.loads(line) for line in out.splitlines()]
