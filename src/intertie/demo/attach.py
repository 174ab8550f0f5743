"""Running a program inside the demo from another terminal, as if it had been started here.

Without a terminal of its own the program gets this process's three streams, and hears its signals. With one
(`shell`), a pseudo-terminal made here goes in and its other end is copied to the real terminal, so that
job control and full-screen programs work across the namespaces.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import termios
import tty
from collections.abc import Iterator
from pathlib import Path

from intertie.demo.control import Control, Reply, Request

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def exit_code(status: int) -> int:
    """A shell's way to say how a program ended: 128 + n for signal n."""
    return status if status >= 0 else 128 - status


@contextlib.contextmanager
def _passed_on(control: Control) -> Iterator[None]:
    """Meanwhile, signals to this process are the program's."""

    def pass_on(number: int, _frame: object) -> None:
        control.send(Request(do="signal", number=number))

    before = {number: signal.signal(number, pass_on) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(socket: Path, request: Request, streams: tuple[int, int, int] = (0, 1, 2)) -> int:
    """Run `request` on these streams; the exit code. Abort when it cannot be started."""
    with Control(socket) as control, _passed_on(control):
        reply = control.ask(request, streams)
        return exit_code(reply.status)


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


@contextlib.contextmanager
def _same_size(terminal: int, inner: int) -> Iterator[None]:
    """Meanwhile, `inner` is as large as `terminal`, also when that changes."""

    def copy(*_: object) -> None:
        size = fcntl.ioctl(terminal, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(inner, termios.TIOCSWINSZ, size)

    copy()
    before = signal.signal(signal.SIGWINCH, copy)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def run_terminal(socket: Path, request: Request) -> int:
    """Run `request` (with `terminal`) on a new terminal joined to ours; the exit code."""
    with Control(socket) as control:
        ours, theirs = os.openpty()
        try:
            with _same_size(0, ours), _raw(0):
                control.send(request, (theirs, theirs, theirs))
                os.close(theirs)
                reply = _copy(ours, control)
        finally:
            os.close(ours)
    return exit_code(reply.status if reply.ok else 1)


def _copy(inner: int, control: Control) -> Reply:
    """Copy both ways until the program has ended and its last words are out."""
    reply: Reply | None = None
    sources: list[int] = [0, inner, control.socket.fileno()]
    while inner in sources:
        readable, _, _ = select.select(sources, [], [], 0.2 if reply else None)
        if reply and not readable:
            break
        if inner in readable and not _move(inner, 1):
            sources.remove(inner)
        if 0 in readable and not _move(0, inner):
            sources.remove(0)
        if control.socket.fileno() in readable:
            reply = control.receive()
            sources.remove(control.socket.fileno())
    return reply or control.receive()


def _move(source: int, target: int) -> bool:
    """Copy what is there; False at the end (a terminal whose last user has gone says EIO)."""
    try:
        data = os.read(source, 65536)
    except OSError:
        return False
    while data:
        data = data[os.write(target, data) :]
        if not data:
            return True
    return False
