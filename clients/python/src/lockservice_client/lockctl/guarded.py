"""Starts a command that is killed when lockctl is, since nobody renews its lease any more.

Run as `python guarded.py LOCKCTL_PID COMMAND ARGUMENT...`: Python code between fork and exec would not be safe beside
gRPC's threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Asks the kernel for the signal, and becomes the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # lockctl may have died before the kernel was asked.
        if os.getppid() != int(sys.argv[1]):
            sys.exit(1)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    main()
