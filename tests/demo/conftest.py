"""A demo of our own for each test: its own directory and ports, so that a user's running demo is left alone."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from intertie.demo.state import VARIABLE


@dataclass(frozen=True, slots=True)
class Traces:
    """What a demo could leave on the machine: namespaces in use, mounts where it mounts, its processes."""

    namespaces: frozenset[str]
    mounts: tuple[str, ...]
    processes: frozenset[int]


def processes_of(base: Path) -> frozenset[int]:
    """Processes, in any namespace, that were told of `base`."""
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if os.fsencode(base) in told:
                found.add(int(entry.name))
    return frozenset(found)


def traces(base: Path) -> Traces:
    """The machine now, as seen through /proc."""
    namespaces: set[str] = set()
    for process in processes_of(base):
        for kind in ("net", "mnt", "pid", "user"):
            try:
                namespaces.add(os.readlink(f"/proc/{process}/ns/{kind}"))
            except OSError:
                continue
    own = {os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "mnt", "pid", "user")}
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    telling = tuple(line for line in mounts if line.split()[1].startswith(("/run", str(base.parent))))
    return Traces(frozenset(namespaces - own), telling, processes_of(base))


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the demo keeps its files; not there yet. Short: paths of unix sockets are."""
    with tempfile.TemporaryDirectory(prefix="itd-", dir="/tmp") as scratch:
        path = Path(scratch) / "d"
        monkeypatch.setenv(VARIABLE, str(path))
        yield path


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture
def port() -> int:
    """The first of ten free ports."""
    for first in range(21000 + os.getpid() % 1000 * 10, 65000, 10):
        if all(_free(first + offset) for offset in range(10)):
            return first
    raise AssertionError("no ten free ports in a row")


@pytest.fixture
def look(base: Path) -> Callable[[], Traces]:
    return lambda: traces(base)
