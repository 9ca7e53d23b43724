"""Writes the pins of the image: every package with its version and the digests of its wheels.

Run it after a dependency in pyproject.toml has changed: `.venv/bin/python deploy/pin.py`.
"""

# ruff: noqa: INP001  a script, no package

import json
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

# What the image runs: the Python and the C library of its base, on both processors.
_PYTHON: Final = "3.11"
_GLIBC_MINOR: Final = 36
_MACHINES: Final = ("x86_64", "aarch64")

_DEPLOY: Final = Path(__file__).resolve().parent
_HEAD: Final = "# Made by deploy/pin.py; do not edit.\n"


def _platforms(machine: str) -> list[str]:
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(5, _GLIBC_MINOR + 1)] + [f"manylinux2014_{machine}"]
    return [word for tag in tags for word in ("--platform", tag)]


def _resolve(requirements: list[str], machine: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", "-"]
    command += ["--only-binary", ":all:", "--target", "unused", "--python-version", _PYTHON, *_platforms(machine)]
    report = subprocess.run([*command, *requirements], check=True, capture_output=True, text=True).stdout
    installed: list[dict[str, Any]] = json.loads(report)["install"]
    return installed


def pins(requirements: list[str]) -> str:
    """Returns the lines of a requirements file. Raises subprocess.CalledProcessError when pip finds no way."""
    digests: defaultdict[str, set[str]] = defaultdict(set)
    for machine in _MACHINES:
        for package in _resolve(requirements, machine):
            name = package["metadata"]["name"].lower().replace("_", "-")
            digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
            digests[f"{name}=={package['metadata']['version']}"].add(digest)
    lines = []
    for pin, wheels in sorted(digests.items()):
        lines.append(" \\\n".join([pin, *(f"    --hash=sha256:{digest}" for digest in sorted(wheels))]))
    return _HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Writes both files: what the service needs to run, and what makes its wheel."""
    project = tomllib.loads((_DEPLOY.parent / "pyproject.toml").read_text())
    (_DEPLOY / "requirements.txt").write_text(pins(project["project"]["dependencies"]))
    (_DEPLOY / "requirements-build.txt").write_text(pins(project["build-system"]["requires"]))


if __name__ == "__main__":
    main()
