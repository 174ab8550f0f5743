"""The demo's directory: one a user, so that another terminal finds it; swept when its demo was killed.

/tmp/intertie-demo-UID/   0700
    lock                  held (flock) by the foreground process while it lives; {"pid","url"}
    init                  the process id of the supervisor, as the host counts
    control               the supervisor's socket
    serving.json          sites, tokens and hosts, for the commands of other terminals
    sites/NAME/           an agent's --dir
    logs/NAME.log
    bin/ping              for shells in hosts, on machines without ping
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import stat
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from intertie.demo.abort import USAGE, Abort

VARIABLE = "INTERTIE_DEMO_DIR"


def place() -> Path:
    """Where this user's demo keeps its files. /tmp and not $TMPDIR: every terminal must find the same."""
    named = os.environ.get(VARIABLE)
    return Path(named).absolute() if named else Path(f"/tmp/intertie-demo-{os.geteuid()}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteAccess:
    """How to talk to a site: its API from the host, a member's and an admin's token."""

    name: str
    url: str
    token: str
    admin_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownHost:
    """A host that the story made."""

    name: str
    site: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What other terminals need to know."""

    pid: int
    sites: tuple[SiteAccess, ...]
    hosts: tuple[KnownHost, ...] = ()


def read_serving(base: Path) -> Serving:
    """Abort when no demo is up in `base`."""
    try:
        told = json.loads((base / "serving.json").read_text())
    except FileNotFoundError as failure:
        raise Abort("no demo is up", hint="start one: make demo", code=USAGE) from failure
    return Serving(
        pid=told["pid"],
        sites=tuple(SiteAccess(**site) for site in told["sites"]),
        hosts=tuple(KnownHost(**host) for host in told["hosts"]),
    )


def write_init(base: Path, pid: int) -> None:
    """Note the supervisor's process id, for a next start that must wait for its end."""
    (base / "init").write_text(str(pid))


@dataclass(slots=True)
class State:
    """The directory, held."""

    base: Path
    _lock: int

    def note(self, url: str) -> None:
        """Tell a second start which one runs."""
        os.truncate(self._lock, 0)
        os.pwrite(self._lock, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)

    def furnish(self, names: tuple[str, ...]) -> None:
        """The directories of the sites, and `ping`."""
        for folder in ("sites", "logs", "bin"):
            (self.base / folder).mkdir(mode=0o700)
        for name in names:
            (self.base / "sites" / name).mkdir(mode=0o700)
        ping = self.base / "bin" / "ping"
        ping.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m intertie.demo.ping "$@"\n')
        ping.chmod(0o700)

    def write_serving(self, serving: Serving) -> None:
        path = self.base / "serving.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(serving)))

    def remove(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.base, ignore_errors=True)
        os.close(self._lock)


def _own_directory(base: Path) -> None:
    """`base` exists, is ours alone, and holds a demo or nothing. Abort otherwise: it will be emptied."""
    with contextlib.suppress(FileExistsError):
        try:
            base.mkdir(mode=0o700)
        except FileNotFoundError as failure:
            raise Abort(f"{base.parent} does not exist", code=USAGE) from failure
    found = base.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Abort(f"{base} is not a directory of this user", hint=f"or set {VARIABLE}", code=USAGE)
    if any(base.iterdir()) and not _is_ours(base):
        raise Abort(f"{base} holds something else than a demo", hint=f"set {VARIABLE} to another", code=USAGE)
    base.chmod(0o700)


MADE = {"bin", "control", "init", "lock", "logs", "serving.json", "sites"}
"""All that a demo ever makes in its directory."""


def _is_ours(base: Path) -> bool:
    """Whether what is in the directory was left there by a demo: its lock, and nothing that a demo does not make."""
    return (base / "lock").is_file() and {each.name for each in base.iterdir()} <= MADE


def _running(lock: int) -> Abort:
    told = os.pread(lock, 4096, 0)
    try:
        who = json.loads(told)
        detail = f"a demo is running already: pid {who['pid']}, {who['url']}"
        hint = f"end it with Ctrl-C where it runs, or: kill {who['pid']}"
    except (ValueError, KeyError):
        detail, hint = "a demo is starting already", ""
    return Abort(detail, hint=hint, code=USAGE)


def wait_for_init(base: Path) -> None:
    """Wait for the end of a killed demo's tree: the kernel tells it as the end of its init, which is last."""
    try:
        pid = int((base / "init").read_text())
        if b"intertie.demo.inside" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return
        process = os.pidfd_open(pid)
    except (OSError, ValueError):
        return
    try:
        ended, _, _ = select.select([process], [], [], 10.0)
    finally:
        os.close(process)
    if not ended:
        raise Abort(f"the remains of a killed demo (pid {pid}) do not end", hint=f"kill -9 {pid}", code=USAGE)


def hold(base: Path) -> State:
    """Take the directory for this process, swept of what a killed demo left. Abort while another runs."""
    _own_directory(base)
    while True:
        lock = os.open(base / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = _running(lock)
            os.close(lock)
            raise running from None
        try:
            if os.path.samestat(os.fstat(lock), os.stat(base / "lock")):
                break
        except FileNotFoundError:
            pass
        os.close(lock)  # its last holder removed it in between
        _own_directory(base)
    os.truncate(lock, 0)
    wait_for_init(base)
    for left in base.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        elif left.name != "lock":
            left.unlink()
    return State(base=base, _lock=lock)
