"""Starts a command that is killed when lockctl is, since nobody renews its lease any more.

Run as `python guarded.py LOCKCTL_PID LIFELINE REACH COMMAND ARGUMENT...`: Python code between fork and exec would not
be safe beside gRPC's threads. LIFELINE is the reading end of a pipe that only lockctl can write: a byte says that the
command has ended, the end of the pipe that lockctl has. REACH is `group` or `alone`: what is killed then.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Leaves a watcher behind, asks the kernel for the signal too, and becomes the command."""
    parent, lifeline, reach, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    _leave_watcher(lifeline, reach)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # lockctl may have died before the kernel was asked.
    if os.getppid() != parent:
        sys.exit(1)
    os.close(lifeline)
    try:
        os.execvp(command[0], command)  # noqa: S606  no shell is wanted
    except OSError as error:
        sys.stderr.write(f"lockctl: {command[0]}: {error.strerror}\n")
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def _leave_watcher(lifeline: int, reach: str) -> None:
    """Forks twice, so that the command never meets a child that it did not start."""
    command = os.getpid()
    middle = os.fork()
    if middle:
        os.waitpid(middle, 0)
        return
    os.setsid()
    if os.fork() == 0:
        # Whoever reads the command's output must not wait for the watcher.
        for stream in range(3):
            os.close(stream)
        if not os.read(lifeline, 1):
            _kill(command, reach)
    os._exit(0)


def _kill(command: int, reach: str) -> None:
    try:
        if reach == "group":
            os.killpg(command, signal.SIGKILL)
        else:
            os.kill(command, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    main()
