"""Hosts that share nothing but a cable: each has its own files, /run, network and name.

A host's files are this machine's as it is, under a layer of its own (overlayfs on a tmpfs): whatever is installed,
written or made there is gone afterwards and was never seen here. systemd does not run there: systemctl and
journalctl are the stand-in's.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from tests.net.topologies.hosts import Network

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SECONDS = 120.0
RAISE = """
set -e
mount -t tmpfs -o mode=755 tmpfs $1
mkdir $1/upper $1/work $1/root
mount -t overlay overlay -o lowerdir=/,upperdir=$1/upper,workdir=$1/work $1/root
cd $1/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=1777 tmpfs tmp
mount -t tmpfs -o mode=700 tmpfs root
mkdir -p srv/wheels
mount --bind $3 srv/wheels
hostname $2
exec chroot . sleep infinity
"""
STAND_IN = Path(__file__).with_name("stand_in.py")


@dataclass(slots=True)
class Host:
    """A running host; `run` is what its operator types."""

    name: str
    anchor: subprocess.Popen[bytes]

    def run(self, command: str) -> tuple[int, str]:
        """A line of shell as root of the host: its exit code and what it printed, notes and errors last."""
        environment = {
            "PATH": PATH,
            "HOME": "/root",
            "LANG": "C.UTF-8",
            "COLUMNS": "200",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": "/srv/wheels",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_COMPILE": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }
        enter = ["nsenter", "--target", str(self.anchor.pid), "--mount", "--net", "--uts", "--root", "--wd"]
        return shell([*enter, "sh", "-c", f"cd /root && {command}"], environment)

    def put(self, source: Path, target: str) -> None:
        """A file of this machine, copied there as scp would."""
        shutil.copyfile(source, f"{self.files}{target}")

    @property
    def files(self) -> str:
        """The way to the host's root directory from here."""
        return f"/proc/{self.anchor.pid}/root"

    @property
    def network(self) -> Network:
        return Network(f"/proc/{self.anchor.pid}/ns/net")

    def inside(self, name: str) -> Network:
        """A named namespace of the host."""
        return Network(f"{self.files}/run/netns/{name}")

    def close(self) -> None:
        """Every process of the host ends, by its own id."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self.anchor.pid and self._own(entry):
                os.kill(int(entry.name), 9)
        self.anchor.kill()
        self.anchor.wait()

    def _own(self, process: Path) -> bool:
        try:
            return os.readlink(process / "ns/mnt") == os.readlink(f"/proc/{self.anchor.pid}/ns/mnt")
        except OSError:
            return False


def raise_host(name: str, folder: Path, wheels: Path) -> Host:
    """A host without network, its python3 that of this run. RuntimeError with the words of whatever refused."""
    base = folder / name
    base.mkdir()
    words = ["unshare", "-mnu", "--propagation", "private", "sh", "-c", RAISE, "sh", str(base), name, str(wheels)]
    anchor = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    host = Host(name, anchor)
    while Path(f"/proc/{anchor.pid}/comm").read_text() != "sleep\n":
        if anchor.poll() is not None:
            assert anchor.stdout is not None
            raise RuntimeError(f"no host {name}: {anchor.stdout.read().decode()}")
    host.put(STAND_IN, "/usr/local/sbin/stand_in.py")
    python = shlex.quote(sys._base_executable)  # type: ignore[attr-defined]
    programs = "".join(
        f"printf '#!/bin/sh\\nexec {python} /usr/local/sbin/stand_in.py {program} \"$@\"\\n' > {program};"
        for program in ("systemctl", "journalctl")
    )
    code, said = host.run(f"cd /usr/local/sbin; {programs} chmod +x systemctl journalctl; ln -sf {python} python3")
    assert code == 0, said
    return host


def shell(command: list[str], environment: dict[str, str], folder: Path = Path("/")) -> tuple[int, str]:
    """Exit code and what was printed, stdout before stderr (a terminal's order depends on buffers)."""
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        timeout=SECONDS,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def cable(one: Host, other: Host, addresses: tuple[str, str]) -> None:
    """An Ethernet between two hosts, `eth0` at both, with these addresses (with prefix lengths)."""
    with IPRoute() as nl:
        peer = {"ifname": "eth0", "net_ns_pid": other.anchor.pid}
        nl.link("add", ifname="eth0", kind="veth", net_ns_pid=one.anchor.pid, peer=peer)
    for host, address in zip((one, other), addresses, strict=True):
        plug(host.network, address)


def plug(network: Network, address: str) -> None:
    ip, _, length = address.partition("/")

    def up(nl: IPRoute) -> None:
        nl.link("set", index=1, state="up")
        index = nl.link_lookup(ifname="eth0")[0]
        nl.addr("add", index=index, address=ip, prefixlen=int(length))
        nl.link("set", index=index, state="up")

    network.netlink(up)
