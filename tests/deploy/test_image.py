"""The recipe of the image, carried out without a container engine: its steps, and what they leave behind."""

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.manifests import DEPLOY, program
from harness.redis_server import RedisServer

ROOT = DEPLOY.parent
Step = tuple[str, str]


def stages() -> list[list[Step]]:
    """Returns the instructions of each stage of the Dockerfile: the word, and the rest with its lines joined."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    steps = [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]
    found: list[list[Step]] = []
    for word, rest in steps:
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest.strip()))
    return found


def of_word(stage: list[Step], wanted: str) -> list[str]:
    """Returns what follows a word in a stage."""
    return [rest for word, rest in stage if word == wanted]


def variables(stage: list[Step]) -> dict[str, str]:
    """Returns the environment that a stage sets."""
    return dict(pair.split("=", 1) for rest in of_word(stage, "ENV") for pair in rest.split())


def admitted(path: str) -> bool:
    """Says whether .dockerignore lets a path into the build."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in lines
    return any(path == line[1:] or path.startswith(f"{line[1:]}/") for line in lines if line.startswith("!"))


def test_the_recipe_is_clean() -> None:
    """The linter of Dockerfiles finds nothing in it."""
    linter = program(str(Path(sys.executable).parent / "hadolint"))
    ran = subprocess.run([linter, str(DEPLOY / "Dockerfile")], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout


def test_what_it_copies_is_there() -> None:
    """Every file that goes into the image is in the checkout and is let into the build, and nothing else is."""
    build, _ = stages()
    copied = [source for rest in of_word(build, "COPY") for source in rest.split()[:-1]]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert admitted(source), source
    assert not admitted(".git")
    assert not admitted("deploy/redis/acl.conf")


def test_it_is_pinned_and_runs_as_nobody() -> None:
    """Its base and every package have exact versions, packages their digests too, and its user has a number."""
    base = re.search(r"^ARG BASE=(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert base
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+(@sha256:\w{64})?", base[1])
    for name in ("requirements.txt", "requirements-build.txt"):
        pins = re.sub(r"#.*\n", "", (DEPLOY / name).read_text()).replace("\\\n", "").splitlines()
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+(\s+--hash=sha256:[0-9a-f]{64})+", pin) for pin in pins)
    build, final = stages()
    assert [step[0] for step in (build[0], final[0])] == ["FROM", "FROM"]
    assert of_word(final, "USER") == ["65532:65532"]
    assert "curl" not in (DEPLOY / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def built() -> Iterator[Path]:
    """Carries the build stage out in a directory, with its paths moved there, and returns what is shipped."""
    if (sys.platform, sys.version_info[:2]) != ("linux", (3, 11)) or platform.machine() not in {"x86_64", "aarch64"}:
        pytest.skip("the pinned wheels are for Linux and Python 3.11, as in the image")
    with tempfile.TemporaryDirectory(prefix="ls-image-") as name:
        root = Path(name)
        subprocess.run([sys.executable, "-m", "venv", root / "system"], check=True)
        (root / "src").mkdir()
        build, _ = stages()
        environment = os.environ | variables(build) | {"PATH": f"{root}/system/bin:{os.environ['PATH']}"}
        environment.pop("PIP_NO_CACHE_DIR")  # a test may use what was fetched before
        for word, rest in build:
            if word == "COPY":
                *sources, target = rest.split()
                _copy(sources, root / "src" / target)
            elif word == "RUN":
                command = rest.replace("/opt/lockservice", f"{root}/opt/lockservice")
                done = subprocess.run(
                    ["bash", "-euc", command],
                    cwd=root / "src",
                    env=environment,
                    check=False,
                    capture_output=True,
                    text=True,
                )
                assert done.returncode == 0, done.stdout + done.stderr
        yield root / "opt/lockservice"


def _copy(sources: list[str], target: Path) -> None:
    for source in sources:
        origin = ROOT / source
        if origin.is_dir():
            shutil.copytree(origin, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, target)


def start(built: Path, **settings: str) -> subprocess.Popen[str]:
    """Starts what the image starts, with its environment and with settings, on this machine's loopback."""
    _, final = stages()
    environment = variables(final) | {"PATH": f"{built}/bin", "HOME": "/nonexistent", "TMPDIR": "/nonexistent"}
    environment |= {f"LOCKSERVICE_{name}": value for name, value in settings.items()}
    command = json.loads(of_word(final, "ENTRYPOINT")[0]) + json.loads(of_word(final, "CMD")[0])
    command[0] = str(built / "bin" / command[0])
    return subprocess.Popen(command, cwd="/", env=environment, stderr=subprocess.PIPE, text=True)


def healthy(built: Path, ops_addr: str) -> bool:
    """Runs the image's health check, which Docker runs inside the container."""
    _, final = stages()
    command = json.loads(of_word(final, "HEALTHCHECK")[0].partition("CMD ")[2])
    environment = {"PATH": f"{built}/bin", "LOCKSERVICE_OPS_ADDR": ops_addr}
    command[0] = str(built / "bin" / command[0])
    return subprocess.run(command, env=environment, check=False, capture_output=True).returncode == 0


def files(root: Path) -> set[Path]:
    """Returns every file below a directory."""
    return {path for path in root.rglob("*") if path.is_file()}


@pytest.mark.timeout(300)
def test_the_steps_make_a_service_that_runs(built: Path) -> None:
    """The recipe's own steps give a service that serves, is healthy, drains, and writes nothing to its files."""
    check = [sys.executable, "-m", "pip", "--python", str(built / "bin/python"), "check"]
    subprocess.run(check, check=True)
    before = files(built)
    server = RedisServer()
    process = start(built, SHARDS=f"a={server.url}", INSECURE="true", GRPC_ADDR="0.0.0.0:0", OPS_ADDR="127.0.0.1:0")
    try:
        assert process.stderr is not None
        ready = next(line for line in map(json.loads, process.stderr) if line["event"] == "ready")
        assert ready["shards"] == "a"
        assert healthy(built, ready["ops"])
        opened = [link.readlink() for link in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert not [path for path in opened if path.is_file() and not path.is_relative_to("/dev")], opened
        server.stop()
        assert healthy(built, ready["ops"]), "a shard that is away must not restart the container"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert not healthy(built, ready["ops"])
    finally:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()
        server.remove()
    assert files(built) == before


@pytest.mark.timeout(300)
def test_the_image_never_serves_by_mistake(built: Path) -> None:
    """Without --insecure or client certificates it refuses to listen, and without a shard it embeds none."""
    for settings, said in (({"SHARDS": "a=redis://a:1"}, "--insecure"), ({"INSECURE": "true"}, "no shard is named")):
        process = start(built, **settings)
        started = time.monotonic()
        _, errors = process.communicate(timeout=20)
        assert process.returncode != 0
        assert said in errors, errors
        assert time.monotonic() - started < 20
