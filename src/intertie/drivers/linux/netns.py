"""Network namespaces, entered by one thread.

Everything that a site's agent does in a namespace goes through `Namespaces`: one dedicated thread that moves
itself with setns(2), so that a thousand namespaces cost a thousand small files and no process. The rest of the
agent never changes namespace.

A namespace is held by a bind mount under `directory`, exactly as iproute2 does it: it outlives the agent, so
that killing the agent changes no forwarding, and `ip netns` shows it. Its name is all that is remembered of
it.

A socket belongs to the namespace it was opened in. So a caller may return a socket from `run` and use it on
the event loop, and the worker keeps one netlink socket a namespace.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import hashlib
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NewType, TypeVar

from pyroute2 import IPRoute

Netns = NewType("Netns", str)
"""The name of a namespace: a file in the run directory."""

T = TypeVar("T")

DIRECTORY = Path("/run/netns")
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}")
LONGEST = 63
SOCKETS = 64
"""Netlink sockets kept open at once, each worth four file descriptors."""

CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_SHARED = 0x1000, 0x4000, 0x100000
MNT_DETACH = 2
THREAD_NETNS = "/proc/thread-self/ns/net"

_libc = ctypes.CDLL(None, use_errno=True)


def netns_name(*parts: str) -> Netns:
    """The parts joined by "-", cut to 63 characters; a name that had to be cut ends in a digest of the whole."""
    name = "-".join(re.sub(r"[^a-zA-Z0-9._-]", "-", part) for part in parts)
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    if not NAME.fullmatch(name):
        raise ValueError(f"not a name for a namespace: {name!r}")
    return Netns(name)


class Namespaces:
    """The namespaces of this machine, and the one worker that enters them.

    Every call is queued to the worker: functions handed to it must be short and must not wait for packets.
    OSError passes through; a namespace that is not there is FileNotFoundError.
    """

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self.directory = directory
        self._worker = _Worker(directory)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="netns")

    async def run(self, ns: Netns | None, fn: Callable[[], T]) -> T:
        """Call `fn` inside `ns` (None: the agent's own) and hand back what it returns or raises."""
        return await self._queue(lambda: self._worker.run(ns, fn))

    async def netlink(self, ns: Netns | None, fn: Callable[[IPRoute], T]) -> T:
        """Call `fn` inside `ns` with a route netlink socket of it. Dumps must be consumed inside `fn`."""
        return await self._queue(lambda: self._worker.netlink(ns, fn))

    async def create(self, ns: Netns) -> None:
        """Make `ns`, its loopback up. One that is already there is left as it is."""
        await self._queue(lambda: self._worker.create(ns))

    async def remove(self, ns: Netns) -> None:
        """Let go of `ns`; the kernel clears it once no process is in it. Absent already: success."""
        await self._queue(lambda: self._worker.remove(ns))

    async def exists(self, ns: Netns) -> bool:
        return await self._queue(lambda: self._worker.exists(ns))

    async def list(self, prefix: str = "") -> tuple[Netns, ...]:
        """The namespaces whose names begin with `prefix`, sorted."""
        return await self._queue(lambda: self._worker.list(prefix))

    async def close(self) -> None:
        """Close the worker's sockets and end its thread. The namespaces stay."""
        await self._queue(self._worker.close)
        self._thread.shutdown(wait=False)

    async def _queue(self, fn: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, fn)


class _Worker:
    """What happens on the thread. Nothing here is called from any other."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own = -1
        self._inside: Netns | None = None
        self._sockets: OrderedDict[Netns | None, tuple[int, IPRoute]] = OrderedDict()
        """Per namespace its inode and socket: a namespace removed and made again elsewhere has another inode."""

    def run(self, ns: Netns | None, fn: Callable[[], T]) -> T:
        self._enter(ns)
        try:
            return fn()
        finally:
            self._enter(None)

    def netlink(self, ns: Netns | None, fn: Callable[[IPRoute], T]) -> T:
        inode = 0 if ns is None else self._path(ns).stat().st_ino
        kept = self._sockets.pop(ns, None)
        if kept is not None and kept[0] != inode:
            kept[1].close()
            kept = None
        if kept is None:
            kept = (inode, self.run(ns, IPRoute))
        self._sockets[ns] = kept
        if len(self._sockets) > SOCKETS:
            self._sockets.popitem(last=False)[1][1].close()
        netlink = kept[1]
        return self.run(ns, lambda: fn(netlink))

    def create(self, ns: Netns) -> None:
        if self.exists(ns):
            return
        self._share_directory()
        self._enter(None)
        path = self._path(ns)
        path.touch(mode=0o444)
        self._inside = ns
        try:
            _call("unshare", CLONE_NEWNET)
            _call("mount", THREAD_NETNS.encode(), os.fsencode(path), b"none", MS_BIND, None)
        except OSError:
            path.unlink()
            raise
        finally:
            self._enter(None)
        self.netlink(ns, lambda nl: nl.link("set", index=1, state="up"))

    def remove(self, ns: Netns) -> None:
        kept = self._sockets.pop(ns, None)
        if kept is not None:
            kept[1].close()
        path = self._path(ns)
        with suppress(OSError):  # EINVAL or ENOENT: not mounted, which is where we are going
            _call("umount2", os.fsencode(path), MNT_DETACH)
        path.unlink(missing_ok=True)

    def exists(self, ns: Netns) -> bool:
        """True for a mounted namespace; a bare file, left by a crash half way, does not count."""
        try:
            return self._path(ns).stat().st_dev == os.stat(THREAD_NETNS).st_dev
        except FileNotFoundError:
            return False

    def list(self, prefix: str) -> tuple[Netns, ...]:
        try:
            names = [Netns(entry.name) for entry in os.scandir(self._directory) if entry.name.startswith(prefix)]
        except FileNotFoundError:
            return ()
        return tuple(sorted(ns for ns in names if NAME.fullmatch(ns) and self.exists(ns)))

    def close(self) -> None:
        for _, socket in self._sockets.values():
            socket.close()
        self._sockets.clear()
        if self._own >= 0:
            os.close(self._own)
            self._own = -1

    def _enter(self, ns: Netns | None) -> None:
        if self._own < 0:
            self._own = os.open(THREAD_NETNS, os.O_RDONLY | os.O_CLOEXEC)
        if ns == self._inside:
            return
        if ns is None:
            _call("setns", self._own, CLONE_NEWNET)
        else:
            fd = os.open(self._path(ns), os.O_RDONLY | os.O_CLOEXEC)
            try:
                _call("setns", fd, CLONE_NEWNET)
            finally:
                os.close(fd)
        self._inside = ns

    def _path(self, ns: Netns) -> Path:
        if not NAME.fullmatch(ns):
            raise ValueError(f"not a name for a namespace: {ns!r}")
        return self._directory / ns

    def _share_directory(self) -> None:
        """Make the directory, shared between mount namespaces, so that a removal reaches copies of the mount."""
        self._directory.mkdir(parents=True, exist_ok=True)
        where = os.fsencode(self._directory)
        try:
            _call("mount", b"", where, b"none", MS_SHARED | MS_REC, None)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _call("mount", where, where, b"none", MS_BIND | MS_REC, None)  # not yet a mount point: make it one
            _call("mount", b"", where, b"none", MS_SHARED | MS_REC, None)


def _call(name: str, *args: int | bytes | None) -> None:
    """A libc call that answers -1 and errno, as OSError. Integers are passed as C `unsigned long`."""
    converted = [ctypes.c_ulong(arg) if isinstance(arg, int) else arg for arg in args]
    if getattr(_libc, name)(*converted) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
