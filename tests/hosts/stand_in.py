"""systemctl and journalctl for a machine on which systemd does not run: one service, started as its unit says.

    stand_in.py systemctl VERB [--now] intertie        stand_in.py journalctl -u intertie …

Of a unit it plays what decides whether the agent can work: user, state directory, capabilities, no new privileges,
umask, files, and, by libseccomp, address families, namespaces and system calls as systemd filters them. What it
cannot play it knows by name; a setting that it does not know ends it, so that no line of a unit goes unnoticed.
Standard library only: it runs on the host, beside the agent.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import grp
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS = Path("/etc/systemd/system")
RUN = Path("/run/stand-in")
LOG = Path("/var/log/intertie.log")
READY_SECONDS = 30.0
PLAYED = {
    "Type", "User", "Group", "ExecStartPre", "ExecStart", "StateDirectory", "StateDirectoryMode", "UMask",
    "LimitNOFILE", "AmbientCapabilities", "CapabilityBoundingSet", "NoNewPrivileges", "RestrictAddressFamilies",
    "RestrictNamespaces", "MemoryDenyWriteExecute", "SystemCallFilter", "SystemCallErrorNumber",
}  # fmt: skip
NOT_PLAYED = {
    "Description", "Wants", "After", "WantedBy", "StartLimitIntervalSec", "Restart", "RestartSec", "TimeoutStopSec",
    "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality", "SystemCallArchitectures",
}  # fmt: skip

ALLOW, ERRNO_EPERM, ERRNO_ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
NE, LT, EQ, GT, MASKED = 1, 2, 4, 6, 7
NAMESPACES = {
    "cgroup": 0x02000000, "ipc": 0x08000000, "net": 0x40000000, "mnt": 0x00020000, "pid": 0x20000000,
    "user": 0x10000000, "uts": 0x04000000,
}  # fmt: skip
FAMILIES = 46
PR_SET_MDWE = 65


def read_unit(name: str) -> dict[str, str]:
    """Every setting of the unit; SystemExit for one that is not known."""
    found: dict[str, str] = {}
    path = UNITS / f"{name.removesuffix('.service')}.service"
    if not path.exists():
        sys.exit(f"Unit {path.name} not found.")
    for line in path.read_text().splitlines():
        if line and line[0] not in "#;[":
            key, _, value = line.partition("=")
            if key not in PLAYED | NOT_PLAYED or key in found:
                sys.exit(f"the stand-in does not know what to do with {line!r}")
            found[key] = value
    return found


# ── Verbs ──────────────────────────────────────────────────────────────────────────────────────────────────


def start(name: str) -> None:
    unit = read_unit(name)
    user = pwd.getpwnam(unit["User"])
    group = grp.getgrnam(unit["Group"])
    if "StateDirectory" in unit:
        state = Path("/var/lib") / unit["StateDirectory"]
        state.mkdir(parents=True, exist_ok=True)
        state.chmod(int(unit["StateDirectoryMode"], 8))
        if (state.stat().st_uid, state.stat().st_gid) != (user.pw_uid, group.gr_gid):
            for path in (state, *state.rglob("*")):
                os.chown(path, user.pw_uid, group.gr_gid, follow_symlinks=False)
    before = unit["ExecStartPre"]
    assert before.startswith("+"), "only with full privileges"
    subprocess.run(before[1:].split(), check=True)
    RUN.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, LOG.open("ab") as log:
        address = RUN / "notify"
        address.unlink(missing_ok=True)
        notified.bind(str(address))
        address.chmod(0o777)
        notified.settimeout(READY_SECONDS)
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
            "LANG": "C.UTF-8",
            "HOME": user.pw_dir,
            "USER": user.pw_name,
            "NOTIFY_SOCKET": str(address),
        }
        command = [sys.executable, __file__, "confine", name, *unit["ExecStart"].split()]
        agent = subprocess.Popen(
            [*privileges(unit, user.pw_uid, group.gr_gid), *command],
            env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            cwd="/", umask=int(unit["UMask"], 8),
        )  # fmt: skip
        (RUN / "pid").write_text(str(agent.pid))
        wait_ready(agent, notified)


def privileges(unit: dict[str, str], uid: int, gid: int) -> list[str]:
    def listed(key: str) -> str:
        return ",".join(["-all", *(f"+{c.removeprefix('CAP_').lower()}" for c in unit[key].split())])

    return [
        "setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups",
        *(["--no-new-privs"] if unit["NoNewPrivileges"] == "yes" else []),
        f"--inh-caps={listed('AmbientCapabilities')}", f"--ambient-caps={listed('AmbientCapabilities')}",
        f"--bounding-set={listed('CapabilityBoundingSet')}",
    ]  # fmt: skip


def wait_ready(agent: subprocess.Popen[bytes], notified: socket.socket) -> None:
    ends = time.monotonic() + READY_SECONDS
    notified.settimeout(0.2)
    while time.monotonic() < ends:
        try:
            if b"READY=1" in notified.recv(256):
                return
        except TimeoutError:
            if agent.poll() is not None:
                break
    sys.exit(f"Job for intertie.service failed, see journalctl -u intertie\n{LOG.read_text()[-2000:]}")


def stop() -> None:
    pid = running()
    if pid:
        os.kill(pid, signal.SIGTERM)
        ends = time.monotonic() + READY_SECONDS
        while running() and time.monotonic() < ends:
            time.sleep(0.05)
        (RUN / "pid").unlink()


def running() -> int:
    """The agent's pid, 0 if it does not run."""
    try:
        pid = int((RUN / "pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return pid if state != "Z" else 0


def systemctl(words: list[str]) -> None:
    verb, *names = [word for word in words if not word.startswith("-")]
    now = "--now" in words
    if verb in ("stop", "restart") or (verb == "disable" and now):
        stop()
    if verb in ("start", "restart") or (verb == "enable" and now):
        start(names[0])
    elif verb == "is-active":
        print("active" if running() else "inactive")
        sys.exit(0 if running() else 3)
    elif verb not in ("daemon-reload", "enable", "disable", "stop"):
        sys.exit(f"the stand-in does not know {verb}")


# ── Filters of system calls ────────────────────────────────────────────────────────────────────────────────


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


class Filter:
    """One filter of libseccomp, loaded into this process when done."""

    def __init__(self, library: ctypes.CDLL, otherwise: int) -> None:
        self._library = library
        library.seccomp_init.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(otherwise)))

    def add(self, action: int, name: str, *compared: Compare) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number >= 0:
            array = (Compare * len(compared))(*compared)
            done = self._library.seccomp_rule_add_array(
                self._context, ctypes.c_uint32(action), number, len(compared), array
            )
            assert done == 0, (name, done)

    def load(self) -> None:
        assert self._library.seccomp_load(self._context) == 0, "the filter was not taken"


def confine(unit: dict[str, str]) -> None:
    """What is left of the unit, on this process."""
    files = int(unit["LimitNOFILE"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if unit["MemoryDenyWriteExecute"] == "yes":
        ctypes.CDLL(None).prctl(PR_SET_MDWE, 1, 0, 0, 0)  # from Linux 6.3 on
    found = ctypes.util.find_library("seccomp")
    if found is None:
        print("the stand-in has no libseccomp: system calls are not filtered", file=sys.stderr)
        return
    library = ctypes.CDLL(found)
    restrict_families(library, unit["RestrictAddressFamilies"].split())
    restrict_namespaces(library, unit["RestrictNamespaces"].split())
    restrict_calls(library, unit["SystemCallFilter"].split())


def restrict_families(library: ctypes.CDLL, allowed: list[str]) -> None:
    filter = Filter(library, ALLOW)
    numbers = {int(getattr(socket, name)) for name in allowed}
    for family in set(range(FAMILIES)) - numbers:
        filter.add(ERRNO_EPERM, "socket", Compare(0, EQ, family, 0))
    filter.add(ERRNO_EPERM, "socket", Compare(0, GT, FAMILIES, 0))
    filter.load()


def restrict_namespaces(library: ctypes.CDLL, allowed: list[str]) -> None:
    filter = Filter(library, ALLOW)
    filter.add(ERRNO_ENOSYS, "clone3")
    filter.add(ERRNO_EPERM, "setns", Compare(1, EQ, 0, 0))
    for name, flag in NAMESPACES.items():
        if name not in allowed:
            filter.add(ERRNO_EPERM, "unshare", Compare(0, MASKED, flag, flag))
            filter.add(ERRNO_EPERM, "clone", Compare(0, MASKED, flag, flag))
            filter.add(ERRNO_EPERM, "setns", Compare(1, MASKED, flag, flag))
    filter.load()


def restrict_calls(library: ctypes.CDLL, allowed: list[str]) -> None:
    filter = Filter(library, ERRNO_EPERM)
    for name in sorted(expanded(allowed)):
        filter.add(ALLOW, name)
    filter.load()


def expanded(words: list[str]) -> set[str]:
    """Groups of calls as systemd defines them (systemd.exec(5), SystemCallFilter=)."""
    found: set[str] = set()
    for word in words:
        if word.startswith("@"):
            told = subprocess.run(
                ["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True
            ).stdout
            lines = [line.strip() for line in told.splitlines()[1:]]
            found |= expanded([line for line in lines if line and not line.startswith("#")])
        else:
            found.add(word)
    return found


def main(words: list[str]) -> None:
    program, *rest = words
    if program == "systemctl":
        systemctl(rest)
    elif program == "journalctl":
        print(LOG.read_text(), end="")
    elif program == "confine":
        name, *command = rest
        path = shutil.which(command[0])
        assert path, command
        confine(read_unit(name))
        os.execv(path, command)


if __name__ == "__main__":
    main(sys.argv[1:])
