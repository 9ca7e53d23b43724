"""A Kubernetes API server with etcd, and kubectl that talks to it. Nothing runs the pods that it lets in."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from harness.manifests import DEPLOY, program

BUILT: Final = DEPLOY.parent / "build/cluster"
START_S: Final = 60.0


def free_port() -> int:
    """Finds a port."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    return port


class Cluster:
    """The API server that `make check-cluster` builds.

    Args:
        directory: where its files are.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self._config = directory / "kubeconfig"

    def __enter__(self) -> Self:
        store = self._start_etcd()
        port, token = free_port(), secrets.token_hex()
        (self._directory / "tokens.csv").write_text(f'{token},tester,tester,"system:masters"\n')
        self._write_key()
        self._start(
            BUILT / "kube-apiserver",
            f"--etcd-servers={store}",
            *("--bind-address=127.0.0.1", f"--secure-port={port}", f"--cert-dir={self._directory}/certificates"),
            *("--authorization-mode=RBAC", f"--token-auth-file={self._directory}/tokens.csv"),
            *("--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24"),
            f"--service-account-key-file={self._directory}/key.pem",
            f"--service-account-signing-key-file={self._directory}/key.pem",
        )
        self._write_config(port, token)
        until = time.monotonic() + START_S
        while self.kubectl("get", "--raw", "/readyz", check=False).stdout != "ok":
            assert time.monotonic() < until, (self._directory / "log").read_text()[-5_000:]
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def _start(self, *words: Path | str) -> None:
        with (self._directory / "log").open("ab") as log:
            self._processes.append(subprocess.Popen(words, stdout=log, stderr=log))

    def _start_etcd(self) -> str:
        beside = Path(sys.executable).parent / "etcd"
        etcd = beside if beside.exists() else Path(shutil.which("etcd") or "etcd")
        clients, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        urls = {"listen-client-urls": clients, "advertise-client-urls": clients, "listen-peer-urls": peers}
        words = [f"--{name}={url}" for name, url in urls.items()]
        self._start(etcd, f"--data-dir={self._directory}/etcd", "--unsafe-no-fsync", *words)
        return clients

    def _write_key(self) -> None:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        (self._directory / "key.pem").write_bytes(key.private_bytes(*pem))

    def _write_config(self, port: int, token: str) -> None:
        server = {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": server}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        self._config.write_text(json.dumps(config))

    def kubectl(self, *words: str, given: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs kubectl with what is given on its standard input."""
        environment = {"KUBECONFIG": str(self._config), "HOME": str(self._directory), "PATH": os.environ["PATH"]}
        command = [program("kubectl"), *words]
        ran = subprocess.run(command, input=given, env=environment, check=False, capture_output=True, text=True)
        assert not check or ran.returncode == 0, ran.stderr
        return ran

    def read(self, *words: str) -> Any:
        """Reads what is stored."""
        return json.loads(self.kubectl("get", *words, "-o", "json").stdout)
