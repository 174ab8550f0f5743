"""The few system calls that Python 3.11 lacks, and the way into fresh namespaces without any privilege.

`enter()` asks the kernel for one thing after the other, so that a refusal names exactly what was refused;
`explain()` is a pure function from that refusal and the machine's settings to the words a user reads.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from intertie.demo.abort import USAGE, Abort

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """unshare(2). OSError when refused. A new pid namespace is for the children only."""
    _checked(_libc.unshare(flags), f"unshare({flags:#x})")


def setns(fd: int, kind: int) -> None:
    """setns(2): enter the namespace that `fd` stands for. OSError when refused."""
    _checked(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str, *, flags: int = 0, options: str = "") -> None:
    """mount(2). OSError when refused."""
    done = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _checked(done, target)


def die_with_parent() -> None:
    """Have the kernel send SIGKILL to this process when its parent ends, however it ends."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def private_mounts() -> None:
    """Keep every later mount of this mount namespace to itself."""
    mount("none", "/", "none", flags=_MS_REC | _MS_PRIVATE)


def empty_run() -> None:
    """An empty /run with /run/netns in it: names of namespaces are then private to this mount namespace."""
    mount("tmpfs", "/run", "tmpfs", flags=_MS_NOSUID | _MS_NODEV, options="mode=755,size=16m")
    os.mkdir("/run/netns", 0o755)


def fresh_proc() -> None:
    """/proc of the pid namespace that the caller is init of."""
    mount("proc", "/proc", "proc", flags=_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine says about user namespaces; None where it has no such setting."""

    root: bool
    clone: int | None = None
    """kernel.unprivileged_userns_clone (Debian's switch)."""
    apparmor: int | None = None
    """kernel.apparmor_restrict_unprivileged_userns (Ubuntu 23.10 and later)."""
    maximum: int | None = None
    """user.max_user_namespaces."""
    container: bool = False


def _setting(path: str) -> int | None:
    try:
        return int(Path("/proc/sys", path).read_text())
    except (OSError, ValueError):
        return None


def machine() -> Machine:
    """Read the settings of this machine."""
    return Machine(
        root=os.geteuid() == 0,
        clone=_setting("kernel/unprivileged_userns_clone"),
        apparmor=_setting("kernel/apparmor_restrict_unprivileged_userns"),
        maximum=_setting("user/max_user_namespaces"),
        container=any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")),
    )


def explain(step: str, number: int, machine: Machine) -> Abort:
    """The refusal of `step` with errno `number`, in words: what refuses, and what would make it work."""
    detail = f"this machine refuses {step}: {os.strerror(number)}"
    ways: list[str] = []
    if number == errno.ENOSYS:
        ways.append("this kernel is built without namespaces; use one that has them (any Debian kernel has)")
    elif number in (errno.ENOSPC, errno.EUSERS):
        ways.append(f"user.max_user_namespaces is {machine.maximum}: sudo sysctl user.max_user_namespaces=10000")
    if machine.clone == 0 and not machine.root:
        ways.append("kernel.unprivileged_userns_clone is 0: sudo sysctl kernel.unprivileged_userns_clone=1")
    if machine.apparmor == 1 and not machine.root:
        ways.append("AppArmor restricts user namespaces: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0")
    if machine.container:
        ways.append(
            "in a container: start it with --cap-add SYS_ADMIN --cap-add NET_ADMIN "
            "--security-opt seccomp=unconfined --security-opt systempaths=unconfined"
        )
    if not machine.root:
        ways.append("or run the demo as root: sudo .venv/bin/intertie demo")
    if not ways:
        ways.append("root here lacks CAP_SYS_ADMIN or a filter forbids it; run it where root has all capabilities")
    return Abort(detail, hint="\n".join(ways), code=USAGE)


def _step(what: str, flags: int) -> None:
    try:
        unshare(flags)
    except OSError as refusal:
        raise explain(what, refusal.errno or errno.EPERM, machine()) from refusal


def _map_to_root(uid: int, gid: int) -> None:
    """Be uid 0 of the new user namespace: the one mapping that needs no privilege (user_namespaces(7))."""
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    except OSError as refusal:
        raise explain("the mapping of a user namespace", refusal.errno or errno.EPERM, machine()) from refusal


def enter() -> None:
    """New user (unless root may do without), mount, network and pid namespaces. Abort with the reason.

    The caller must have one thread only, and must then fork: the child is the pid namespace's init.
    """
    uid, gid = os.geteuid(), os.getegid()
    rest = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID
    if uid == 0:
        try:
            unshare(rest)
            return
        except PermissionError:
            pass  # root of a container without CAP_SYS_ADMIN: like an ordinary user
    _step("a user namespace", CLONE_NEWUSER)
    _map_to_root(uid, gid)
    _step("mount, network and pid namespaces in a user namespace", rest)


def furnish() -> None:
    """As init of the new namespaces: private mounts, own /proc, empty /run. Abort with the reason."""
    for what, act in (
        ("private mounts", private_mounts),
        ("an own /proc", fresh_proc),
        ("a tmpfs on /run", empty_run),
    ):
        try:
            act()
        except OSError as refusal:
            raise explain(what, refusal.errno or errno.EPERM, machine()) from refusal
