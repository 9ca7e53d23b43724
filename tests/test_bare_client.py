"""A client in a language that we have none for, made from the proto alone as `clients/README.md` says."""

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from harness.service import Service

BARE = Path(__file__).parents[1] / "clients" / "bare"
BUILT = Path(__file__).parents[1] / "build" / "bare"


@pytest.mark.timeout(300)
async def test_the_bare_worker_holds_its_lease_past_the_ttl(tmp_path: Path, service: Service) -> None:
    """It is built from the proto, works longer than its ttl, and its release says that it still held."""
    cargo = shutil.which("cargo")
    if cargo is None and os.environ.get("CI") != "true":
        pytest.skip("cargo is not installed")
    assert cargo is not None
    compiler = tmp_path / "protoc"
    compiler.write_text(f'#!/bin/sh\nexec {sys.executable} -m grpc_tools.protoc "$@"\n', encoding="utf-8")
    compiler.chmod(0o755)
    environment = {
        **os.environ,
        "PROTOC": str(compiler),
        "PROTOS_GOOGLE": sysconfig.get_path("purelib"),
        "LOCKSERVICE_ADDR": service.server.grpc_addr,
    }
    command = [cargo, "run", "--quiet", "--locked", "--target-dir", str(BUILT)]
    ran = await asyncio.to_thread(
        subprocess.run, command, cwd=BARE, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == ["working under token positive", "packed", "Released"]
