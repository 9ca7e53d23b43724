"""A clock of the day that a test can move, for the processes that are started with it."""

import shutil
import struct
import subprocess
import tempfile
import time
from mmap import mmap
from pathlib import Path
from typing import Self

from harness.manifests import program

SHIM = Path(__file__).with_name("clock_shim.c")
NS_PER_S = 1_000_000_000
SEEN_WITHIN_S = 0.005


class Clock:
    """The time of day of some processes; monotonic clocks are not moved.

    Give `launcher` to whatever starts them, such as RedisServer. A statically linked program is not reached: the
    test must look whether the time that it tells has moved. Both servers of `redis_server.KINDS` are linked
    dynamically.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="ls-clock-"))
        shim = self._directory / "clock_shim.so"
        how = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")
        subprocess.run([program("cc"), *how, "-o", str(shim), str(SHIM)], check=True)
        offset = self._directory / "offset_ns"
        offset.write_bytes(bytes(8))
        with offset.open("r+b") as file:
            self._offset_ns = mmap(file.fileno(), 8)
        self.launcher = ("env", f"LD_PRELOAD={shim}", f"CLOCK_SHIM_FILE={offset}")

    def set_offset(self, seconds: float) -> None:
        """Moves the clock to so many seconds after the true time; before it, if negative.

        Returns when the servers use it: Valkey looks at this clock once a millisecond, and counts on in between.
        """
        struct.pack_into("=q", self._offset_ns, 0, round(seconds * NS_PER_S))
        time.sleep(SEEN_WITHIN_S)

    def remove(self) -> None:
        """Deletes its files; the processes that use it go on with the last offset."""
        self._offset_ns.close()
        shutil.rmtree(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()
