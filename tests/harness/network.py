"""Hosts on one machine: network namespaces on a bridge, whose links a test can cut and heal."""

import os
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from harness.manifests import program

# No card has this address: what is sent to it is lost without a word, as on a wire that is cut.
NOBODY = "02:00:00:00:00:01"
NETWORKS_MAX = 250
UP_WITHIN_S = 10.0


def _ip(*words: str) -> str:
    done = subprocess.run([program("ip"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


class Host:
    """One address of a network, and a way to run programs there.

    Attributes:
        address: its IPv4 address.
        launcher: words before a program that is to run there; none for the test's own host.
    """

    def __init__(self, network: "Network", number: int, *, namespace: str = "", device: str = "eth0") -> None:
        self.address = f"{network.prefix}.{number}"
        self.launcher = ("ip", "netns", "exec", namespace) if namespace else ()
        self._device = device
        self._processes: list[subprocess.Popen[bytes]] = []

    def run(self, *words: str) -> str:
        """Runs a program there to its end; returns what it printed."""
        done = subprocess.run([*self.launcher, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout

    def is_up(self) -> bool:
        """Says whether its card has seen the cable; the test's own host, the bridge, needs one that has a host."""
        return "state UP" in self.run("ip", "link", "show", self._device)

    def start(self, words: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        """Starts a program there; the process is the program's own, and is killed with the network."""
        process = subprocess.Popen([*self.launcher, *words], **how)
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """Kills what was started there."""
        for process in self._processes:
            process.kill()
            process.wait()

    def lose(self, to: "Host") -> None:
        """Loses what it sends to another host; open connections too get no answer and no error."""
        self.run("ip", "neigh", "replace", to.address, "lladdr", NOBODY, "dev", self._device, "nud", "permanent")

    def find(self, to: "Host") -> None:
        """Ends `lose`."""
        self.run("ip", "neigh", "flush", "to", to.address, "dev", self._device, "nud", "permanent")


class Network:
    """Some hosts, and the test's own beside them (`outside`).

    Use it as a context. Without the right to make namespaces the test is skipped.

    Args:
        names: of the hosts.
    """

    def __init__(self, *names: str) -> None:
        self._require_rights()
        _remove_orphans()
        self._tag, self.prefix = _free()
        self.hosts: dict[str, Host] = {}
        try:
            self.outside = self._make_bridge()
            for number, name in enumerate(names, 1):
                self.hosts[name] = self._make_host(number)
            self._wait_until_up()
        except BaseException:
            self.remove()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    @staticmethod
    def _require_rights() -> None:
        name = f"ls{os.getpid()}n0h0"
        tried = subprocess.run([program("ip"), "netns", "add", name], capture_output=True, text=True, check=False)
        if tried.returncode:
            pytest.skip(f"no right to make network namespaces: {tried.stderr.strip()}")
        _ip("netns", "delete", name)

    def _make_bridge(self) -> Host:
        _ip("link", "add", self._tag, "type", "bridge")
        _ip("address", "add", f"{self.prefix}.254/24", "dev", self._tag)
        _ip("link", "set", self._tag, "up")
        return Host(self, 254, device=self._tag)

    def _make_host(self, number: int) -> Host:
        name = f"{self._tag}h{number}"
        _ip("netns", "add", name)
        host = Host(self, number, namespace=name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _ip("link", "set", name, "master", self._tag, "up")
        host.run("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            host.run("ip", "link", "set", device, "up")
        return host

    def _wait_until_up(self) -> None:
        """Returns once packets can pass; the kernel takes up to a second to notice that a cable is in."""
        deadline = time.monotonic() + UP_WITHIN_S
        for host in (*self.hosts.values(), self.outside):
            while not host.is_up():
                assert time.monotonic() < deadline, f"{host.address} does not come up"
                time.sleep(0.01)
        # Dying connections of an earlier network may have asked for these addresses before they were there, and the
        # kernel would ask again only after a second.
        _ip("neigh", "flush", "dev", self._tag)

    def cut(self, one: Host, *others: Host) -> None:
        """Cuts a host off, both ways, from all others, or from those that are named."""
        for other in others or self._others(one):
            one.lose(other)
            other.lose(one)

    def heal(self) -> None:
        """Mends every link."""
        everybody = [*self.hosts.values(), self.outside]
        for one in everybody:
            for other in everybody:
                if other is not one:
                    one.find(other)

    def _others(self, one: Host) -> list[Host]:
        return [host for host in (*self.hosts.values(), self.outside) if host is not one]

    def remove(self) -> None:
        """Kills what was started in it, and deletes it."""
        for host in self.hosts.values():
            host.stop()
        _delete(self._tag)


def _namespaces() -> list[str]:
    return re.findall(r"^ls\d+n\d+h\d+", _ip("netns", "list"), re.MULTILINE)


def _links() -> list[str]:
    return re.findall(r"^\d+: (ls\d+n\d+(?:h\d+)?)[@:]", _ip("-oneline", "link"), re.MULTILINE)


def _delete(tag: str) -> None:
    # The links by themselves: a connection that is being closed keeps its namespace for a while, without a name.
    for name in _links():
        if name.partition("h")[0] == tag:
            _ip("link", "delete", name)
    for name in _namespaces():
        if name.partition("h")[0] == tag:
            _ip("netns", "delete", name)


def _remove_orphans() -> None:
    """Deletes the networks of tests that were killed before they could."""
    for tag in {name.partition("h")[0] for name in _links() + _namespaces()}:
        pid = tag.removeprefix("ls").partition("n")[0]
        if not Path("/proc", pid).exists():
            _delete(tag)


def _free() -> tuple[str, str]:
    """Finds a name, and a part of 198.18.0.0/15, which is kept for such tests, that nobody uses."""
    used = _ip("-oneline", "-4", "address")
    for number in range(1, NETWORKS_MAX + 1):
        prefix = f"198.18.{number}"
        if f" {prefix}." not in used:
            return f"ls{os.getpid()}n{number}", prefix
    raise AssertionError("every network is in use")
