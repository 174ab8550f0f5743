"""The whole proof, lane by lane: `run_tests.py [LANE…]`, all lanes when none is named.

    check       format, lint, types, import rules, sizes            no tests, each tool one verdict
    unit        tests/unit         decisions, laws, codecs          no I/O to speak of
    federation  tests/federation   many agents in one process       simulated network and clock
    simulator   tests/simulator    thousands of stories, by seed    virtual time; four minutes, INTERTIE_SIM_SECONDS
    contract    tests/contract     stores, drivers, REST against what interface.md promises
    fuzz        tests/fuzz         every decoder of what others wrote, guided; INTERTIE_FUZZ_SECONDS each
    net         tests/net          real kernels: namespaces, VXLAN  tests/conftest.py makes the namespaces
    hosts       tests/hosts        docs/install.md, command by command, on two hosts; for root only
    openstack   tests/openstack    real Keystones and Neutrons, started by lab/; the first run installs them.
                                   As root with packets: Open vSwitch, OVN, machines that ping
    fire        tests/fire         real agents, one fault after the other; packets, clouds and promises are checked
    demo        tests/demo         the demo as a newcomer meets it

Run as root, `net` and `demo` run twice: as root, then as an ordinary user (uid 65534) from a fresh copy of the
tracked files with an environment of its own, which is what a newcomer without privilege has. Root also gets
the programs that tests use as independent checkers and a PostgreSQL server, and may then skip none of them for want
of a program.

A lane that fails, or in which no test ran, fails the run. The last line of the output is the sum over lanes,
alone: `N passed, N failed, N skipped`. Exit: 0 all passed, 1 otherwise, 2 unknown lane.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(".venv/bin")
SPREAD = ("unit", "federation")
"""Lanes whose tests share nothing and run on all cores at once."""
LANES = ("check", "unit", "federation", "simulator", "contract", "fuzz", "net", "hosts", "openstack", "fire", "demo")
TWICE = ("net", "demo")
ORDINARY = 65534
LANE_SECONDS = 2400
"""The longest is `openstack`, which installs what it runs the first time."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CHECKS = (
    ("format", ("ruff", "format", "--check", "src", "tests", "tools", "bench", "lab")),
    ("lint", ("ruff", "check", "src", "tests", "tools", "bench", "lab")),
    ("imports", ("lint-imports",)),
    ("sizes", ("python", "tools/check_sizes.py", "src", "tools", "bench", "lab")),
    ("types", ("mypy",)),
)

CHECKERS = {
    "ip": "iproute2",
    "ping": "iputils-ping",
    "tcpdump": "tcpdump",
    "nft": "nftables",
    "systemd-analyze": "systemd",
    "promtool": "prometheus",
    "ovs-vswitchd": "openvswitch-switch",
}
"""Programs that tests check our work with, and the Debian package of each."""

POSTGRES = "/usr/lib/postgresql"
"""Where Debian puts the programs of its package `postgresql`, which no PATH has: tests run servers of their own."""

NEVER_NEEDED = ("ip", "bridge", "tc", "nft", "brctl", "iptables", "ovs-vsctl", "ethtool")
"""Programs that Intertie does without; the newcomer's demo finds in their place one that complains."""


@dataclass(frozen=True, slots=True)
class Counts:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped)

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def read_counts(report: Path) -> Counts:
    """The sums of a JUnit report; one failure when pytest ended before it could write one."""
    if not report.exists():
        return Counts(failed=1)
    total = Counts()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        tests, failed, skipped = (
            sum(int(suite.get(name, "0")) for name in names)
            for names in (("tests",), ("failures", "errors"), ("skipped",))
        )
        total += Counts(max(tests - failed - skipped, 0), failed, skipped)
    return total


def judge(name: str, code: int, counts: Counts) -> Counts:
    """What a pytest run amounts to: nothing run, or an exit code that no test explains, is a failure too."""
    if counts.passed + counts.failed == 0:
        print(f"lane {name}: no test ran", flush=True)
        return counts + Counts(failed=1)
    if code != 0 and counts.failed == 0:
        print(f"lane {name}: pytest ended with {code}", flush=True)
        return counts + Counts(failed=1)
    return counts


@dataclass(frozen=True, slots=True)
class Place:
    """A checkout with its environment, and the user who runs there."""

    folder: Path
    uid: int | None = None
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def run(self, *command: str | Path) -> int:
        """The command's exit code; 124, as timeout(1) has it, when it took longer than any lane may."""
        try:
            return subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                user=self.uid,
                group=self.uid,
                extra_groups=None if self.uid is None else (),
                check=False,
                timeout=LANE_SECONDS,
            ).returncode
        except subprocess.TimeoutExpired:
            print(f"ended after {LANE_SECONDS} s: {' '.join(map(str, command))}", flush=True)
            return 124

    def pytest(self, lane: str, name: str) -> Counts:
        with tempfile.TemporaryDirectory(prefix="intertie-report-") as scratch:
            if self.uid is not None:
                os.chown(scratch, self.uid, self.uid)
            report = Path(scratch) / "report.xml"
            spread = ("-n", "auto") if lane in SPREAD else ()
            code = self.run(BIN / "python", "-m", "pytest", f"tests/{lane}", f"--junitxml={report}", *spread)
            return judge(name, code, read_counts(report))


def run_checks() -> Counts:
    """Each tool speaks only when it has something to say. Counts failures only: a verdict is not a test."""
    failed = 0
    for name, (program, *arguments) in CHECKS:
        began = time.monotonic()
        done = subprocess.run(
            [BIN / program, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        verdict = "ok" if done.returncode == 0 else "FAILED"
        print(f"  {name}: {verdict}, {time.monotonic() - began:.1f} s", flush=True)
        if done.returncode != 0:
            failed += 1
            print(done.stdout + done.stderr, flush=True)
    return Counts(failed=failed)


def system_python_makes_environments() -> bool:
    """Whether a user who sees only the system's programs can `make venv`."""
    try:
        command = ("/usr/bin/python3", "-c", "import ensurepip, venv; ensurepip.version()")
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except FileNotFoundError:
        return False


def install_checkers() -> None:
    """As root on Debian: whatever of CHECKERS is missing. Elsewhere the tests say what they lack."""
    missing = [package for program, package in CHECKERS.items() if shutil.which(program, path=SYSTEM_PATH) is None]
    if not Path(POSTGRES).is_dir() and shutil.which("initdb") is None:
        missing.append("postgresql")
    if not system_python_makes_environments():
        missing.append("python3-venv")
    if not missing or os.geteuid() != 0 or not Path("/etc/debian_version").exists():
        return
    print(f"installing {', '.join(missing)} for the tests", file=sys.stderr, flush=True)
    apt = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=600")
    install = (*apt, "install", "-y", "--no-install-recommends", *missing)
    environment = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
    for command in (install, (*apt, "update"), install):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), check=False
        )
        if done.returncode == 0 and command is install:
            return


def copy_tracked_files(target: Path) -> None:
    """What a clone of the present tree would hold: tracked files as they are now, nothing that was built."""
    safe = ("git", "-c", f"safe.directory={ROOT}")
    listed = subprocess.run([*safe, "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def put_complaints(folder: Path) -> None:
    folder.mkdir()
    for program in NEVER_NEEDED:
        path = folder / program
        path.write_text(f'#!/bin/sh\necho "Intertie has no need of the program {program}: $0 $*" >&2\nexit 127\n')
        path.chmod(0o755)


@contextmanager
def newcomer() -> Iterator[Place]:
    """An ordinary user's own copy of the project, home folder and environment; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="intertie-newcomer-", ignore_cleanup_errors=True) as scratch:
        base = Path(scratch)
        base.chmod(0o755)
        checkout, home = base / "intertie", base / "home"
        checkout.mkdir()
        home.mkdir()
        copy_tracked_files(checkout)
        put_complaints(base / "complaints")
        for path in (checkout, home, *checkout.rglob("*")):
            os.chown(path, ORDINARY, ORDINARY, follow_symlinks=False)
        kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "LC_", "LANG", "CI"))}
        environment = {
            **kept,
            "HOME": str(home),
            "PATH": SYSTEM_PATH,
            "PYTHONDONTWRITEBYTECODE": "1",
            "INTERTIE_TESTS_STRICT": "1",
        }
        place = Place(checkout, ORDINARY, environment)
        began = time.monotonic()
        if place.run("make", "venv") != 0:
            raise SystemExit("make venv fails for an ordinary user")
        print(f"make venv as uid {ORDINARY}: {time.monotonic() - began:.1f} s", flush=True)
        yield place


def as_newcomer(lane: str, place: Place) -> Counts:
    if lane == "demo":
        path = f"{place.folder.parent / 'complaints'}:{SYSTEM_PATH}"
        place = Place(place.folder, place.uid, {**place.environment, "PATH": path})
    return place.pytest(lane, f"{lane} as uid {place.uid}")


def timed(name: str, run: Callable[[], Counts], times: list[str]) -> Counts:
    print(f"── lane {name}", flush=True)
    began = time.monotonic()
    counts = run()
    times.append(f"lane {name}: {time.monotonic() - began:.1f} s")
    print(times[-1], flush=True)
    return counts


def main(lanes: list[str]) -> int:
    if unknown := [lane for lane in lanes if lane not in LANES]:
        print(f"no lane {', '.join(unknown)}; there are {' '.join(LANES)}", file=sys.stderr)
        return 2
    # Who starts this in the background hands down that Ctrl-C is ignored; tests of Ctrl-C need it to be heard.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A verdict is the same for the same code; chance looks for new examples when somebody asks it to.
    os.environ.setdefault("HYPOTHESIS_PROFILE", "ci")
    chosen = [lane for lane in LANES if lane in lanes or not lanes]
    here = Place(ROOT)
    times: list[str] = []
    total = Counts()
    if set(chosen) - {"check", "unit"}:
        install_checkers()
    for lane in chosen:
        total += timed(lane, run_checks if lane == "check" else partial(here.pytest, lane, lane), times)
    again = [lane for lane in chosen if lane in TWICE and os.geteuid() == 0]
    if again:
        with newcomer() as place:
            for lane in again:
                name = f"{lane} as uid {ORDINARY}"
                total += timed(name, partial(as_newcomer, lane, place), times)
    print("\n".join(["", *times, str(total)]), flush=True)
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
