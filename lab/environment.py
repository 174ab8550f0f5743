"""OpenStack's own environment: `.lab/venv`, and what Debian packages a data plane needs. Kept between runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from fcntl import LOCK_EX, flock
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = (HERE.parent / ".lab").resolve()
COMMON = {"ovs-vswitchd": "openvswitch-switch", "ethtool": "ethtool", "mariadbd": "mariadb-server"}
PACKAGES = {
    "ovn": {**COMMON, "ovn-northd": "ovn-central", "ovn-controller": "ovn-host"},
    "ovs": {**COMMON, "rabbitmq-server": "rabbitmq-server"},
}
"""Programs of each data plane, and the Debian package of each."""
SBIN = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LabError(Exception):
    """The lab cannot be as asked, or what it showed was not so; in words."""

    def __init__(self, words: str, *, missing: bool = False) -> None:
        super().__init__(words)
        self.missing = missing
        """Something that it needs is not here, or was asked for wrongly."""


def say(words: str) -> None:
    print(f"lab: {words}", file=sys.stderr, flush=True)


def python() -> Path:
    return ROOT / "venv" / "bin" / "python"


def install() -> None:
    """Make `.lab/venv` with exactly what constraints.txt names, unless it is that already."""
    pins = HERE / "constraints.txt"
    stamp = sha256(f"{ROOT} {sys.version_info[:2]}\n{pins.read_text()}".encode()).hexdigest()
    noted = ROOT / "venv" / "stamp"
    ROOT.mkdir(exist_ok=True)
    with (ROOT / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if noted.exists() and noted.read_text() == stamp:
            return
        say("installing Keystone and Neutron: two minutes, once")
        shutil.rmtree(ROOT / "venv", ignore_errors=True)
        _run(sys.executable, "-m", "venv", ROOT / "venv")
        options = ("--quiet", "--disable-pip-version-check", "--no-input")
        _run(python(), "-m", "pip", "install", *options, "-r", HERE / "requirements.in", "-c", pins)
        noted.write_text(stamp)


def install_data_plane(kind: str) -> None:
    """As root on Debian: the programs that this data plane needs. LabError names what is missing elsewhere."""
    missing = sorted(p for program, p in PACKAGES[kind].items() if shutil.which(program, path=SBIN) is None)
    if missing and os.geteuid() == 0 and Path("/etc/debian_version").exists():
        say(f"installing {', '.join(missing)}")
        apt = ("apt-get", "-q", "-o", "DPkg::Lock::Timeout=600")
        quiet = {**os.environ, "RUNLEVEL": "1", "DEBIAN_FRONTEND": "noninteractive"}
        for command in ((*apt, "update"), (*apt, "install", "-y", "--no-install-recommends", *missing)):
            subprocess.run(command, env=quiet, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), check=False)
        missing = sorted(p for program, p in PACKAGES[kind].items() if shutil.which(program, path=SBIN) is None)
    if missing:
        raise LabError(f"a data plane needs {', '.join(missing)}: install them", missing=True)
    if os.geteuid() != 0:
        raise LabError("a data plane needs root: it makes namespaces and bridges", missing=True)


def _run(*command: str | Path) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno(), check=True)
