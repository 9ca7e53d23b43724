"""Manifests against the schemas of Kubernetes, as `make check-deploy` checks them."""

import subprocess
import sys
from pathlib import Path


def schema_problems(manifest: str, directory: Path) -> str:
    """Returns what is said of manifests, apart from kinds that are no part of Kubernetes."""
    file = directory / "rendered.yaml"
    file.write_text(manifest)
    checker = Path(sys.executable).parent / "kubernetes-validate"
    ran = subprocess.run([checker, "--strict", "--quiet", file], check=False, capture_output=True, text=True)
    said = [line for line in (ran.stdout + ran.stderr).splitlines() if not line.startswith("WARN")]
    return "\n".join(said) or f"failed with {ran.returncode}" if ran.returncode else ""
