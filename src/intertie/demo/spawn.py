"""Starting a program inside a site's namespaces, with a session, streams and descriptors of its own."""

from __future__ import annotations

import fcntl
import os
import signal
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from intertie.demo import kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A program to start. `enter` lists (descriptor, kind) of namespaces; `streams` become 0, 1 and 2."""

    argv: tuple[str, ...]
    enter: tuple[tuple[int, int], ...]
    streams: tuple[int, int, int]
    directory: Path
    environment: Mapping[str, str]
    inherit: tuple[int, ...] = ()
    terminal: bool = False
    """The first stream is a terminal that shall control the program's session."""


def spawn(job: Job) -> int:
    """Start `job`; its process id. What hinders it is told on the job's own third stream, with exit code 127."""
    pid = os.fork()
    if pid == 0:
        _become(job)
    return pid


def _become(job: Job) -> None:
    """The child's side; it never returns."""
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.umask(0o077)
        os.setsid()
        for target, stream in enumerate(job.streams):
            os.dup2(stream, target)
        if job.terminal:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        for fd, kind in job.enter:
            kernel.setns(fd, kind)
        os.chdir(job.directory)
        for fd in job.inherit:
            os.set_inheritable(fd, True)
        os.execvpe(job.argv[0], job.argv, dict(job.environment))
    except (OSError, ValueError) as failure:
        os.write(2, f"{job.argv[0]}: {failure}\n".encode())
    finally:
        os._exit(127)
