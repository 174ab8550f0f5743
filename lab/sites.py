"""Sites with a data plane: each a namespace with an Open vSwitch in user space and an OVN of its own.

    host ── management bridge ──┬── site1: mgmt, underlay ──┐
                                └── site2: mgmt, underlay ──┴─ one wire between the sites

The kernel needs no module for it. A site is one chassis; its Neutron reaches its databases over `mgmt`, and an
Intertie agent beside it (`inside`) reaches the other site over `underlay`. A "virtual machine" is a namespace whose
eth0 is plugged into br-int in the way Nova does it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab.environment import SBIN, LabError

BRIDGE = "itl-mgmt"
HOST_ADDRESS = "198.18.75.1"
"""Of the services, towards the sites: a range for test beds (RFC 2544)."""
OVS_SCHEMAS, OVN_SCHEMAS = Path("/usr/share/openvswitch"), Path("/usr/share/ovn")


@dataclass(frozen=True, slots=True)
class Site:
    """One site's place; `number` counts from 0."""

    number: int
    folder: Path

    @property
    def name(self) -> str:
        return f"site{self.number + 1}"

    @property
    def namespace(self) -> str:
        return f"itl-{self.name}"

    @property
    def address(self) -> str:
        """Of its databases."""
        return f"198.18.75.{11 + self.number}"

    @property
    def underlay(self) -> str:
        return f"198.18.76.{11 + self.number}"

    @property
    def ovsdb(self) -> str:
        return f"unix:{self.folder}/db.sock"

    def inside(self, *command: str | Path) -> list[str]:
        """The command, run in the site's namespace."""
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]

    def run(self, *command: str | Path) -> str:
        return run(*self.inside(*command), folder=self.folder)

    def vsctl(self, *words: str) -> str:
        return self.run("ovs-vsctl", f"--db={self.ovsdb}", *words)


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Its output. LabError with its own words if it fails."""
    places = {f"{each}_RUNDIR": str(folder) for each in ("OVS", "OVN")} if folder is not None else {}
    environment = {**os.environ, "PATH": SBIN, **places}
    done = subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LabError(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _try(*command: str | Path) -> None:
    subprocess.run(command, env={**os.environ, "PATH": SBIN}, capture_output=True, check=False)


@contextmanager
def running(folder: Path, count: int = 2, ovn: bool = True) -> Iterator[list[Site]]:
    """That many, until the block ends; without OVN their switches are empty. LabError if another lab has some."""
    sites = [Site(number, folder / f"site{number + 1}") for number in range(count)]
    if there := {s.namespace for s in sites} & set(run("ip", "netns", "list").split()):
        raise LabError(f"{', '.join(sorted(there))}: a lab runs already, or was not cleared away (ip netns delete)")
    try:
        _wire(sites)
        for site in sites:
            _open_vswitch(site)
            if ovn:
                _ovn(site)
        yield sites
    finally:
        _clear(sites)


def _wire(sites: list[Site]) -> None:
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{HOST_ADDRESS}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    run("ip", "link", "add", "itl-wire", "type", "bridge")
    run("ip", "link", "set", "itl-wire", "up")
    for site in sites:
        site.folder.mkdir(parents=True)
        run("ip", "netns", "add", site.namespace)
        site.run("ip", "link", "set", "lo", "up")
        for port, bridge, inside, address in (
            (f"itl-m{site.number}", BRIDGE, "mgmt", site.address),
            (f"itl-u{site.number}", "itl-wire", "underlay", site.underlay),
        ):
            run("ip", "link", "add", port, "type", "veth", "peer", "name", inside, "netns", site.namespace)
            run("ip", "link", "set", port, "master", bridge, "up")
            site.run("ip", "address", "add", f"{address}/24", "dev", inside)
            site.run("ip", "link", "set", inside, "up")


def _daemon(site: Site, program: str, *arguments: str) -> None:
    """Started and detached; it is ready when the command returns."""
    common = (f"--pidfile={site.folder}/{program}.pid", f"--log-file={site.folder}/{program}.log")
    site.run(program, *arguments, *common, "--detach", "--no-chdir", "-vconsole:off")


def _database(site: Site, name: str, schema: Path, listen: str) -> None:
    run("ovsdb-tool", "create", site.folder / f"{name}.db", schema)
    files = (f"--pidfile={site.folder}/{name}.pid", f"--log-file={site.folder}/{name}.log")
    where = (f"--remote=punix:{site.folder}/{name}.sock", f"--remote=ptcp:{listen}")
    control = f"--unixctl={site.folder}/{name}.ctl"
    site.run(
        "ovsdb-server", site.folder / f"{name}.db", *where, control, *files, "--detach", "--no-chdir", "-vconsole:off"
    )


def _open_vswitch(site: Site) -> None:
    _database(site, "db", OVS_SCHEMAS / "vswitch.ovsschema", "6640:127.0.0.1")
    site.vsctl("--no-wait", "init")
    _note(site, {"system-id": site.name, "hostname": site.name})
    _daemon(site, "ovs-vswitchd", site.ovsdb)


def _note(site: Site, facts: dict[str, str]) -> None:
    site.vsctl("--no-wait", "set", "Open_vSwitch", ".", *(f"external_ids:{k}={v}" for k, v in facts.items()))


def _ovn(site: Site) -> None:
    facts = {
        "ovn-remote": f"unix:{site.folder}/sb.sock",
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": site.underlay,
        "ovn-bridge": "br-int",
        "ovn-bridge-datapath-type": "netdev",
        "ovn-cms-options": "enable-chassis-as-gw",
    }
    _note(site, facts)
    for name, port in (("nb", 6641), ("sb", 6642)):
        _database(site, name, OVN_SCHEMAS / f"ovn-{name}.ovsschema", f"{port}:{site.address}")
        site.run(f"ovn-{name}ctl", f"--db=unix:{site.folder}/{name}.sock", "init")
    databases = (f"--ovnnb-db=unix:{site.folder}/nb.sock", f"--ovnsb-db=unix:{site.folder}/sb.sock")
    _daemon(site, "ovn-northd", *databases, f"--unixctl={site.folder}/northd.ctl")
    _daemon(site, "ovn-controller", site.ovsdb)
    end = time.monotonic() + 30
    while "br-int" not in site.vsctl("list-br").split():
        if time.monotonic() > end:
            raise LabError(f"ovn-controller of {site.name} makes no br-int: see {site.folder}")
        time.sleep(0.1)


def _clear(sites: list[Site]) -> None:
    for site in sites:
        for pid in sorted(site.folder.glob("*.pid")):
            try:
                os.kill(int(pid.read_text()), signal.SIGKILL)
            except (ProcessLookupError, ValueError):
                continue
        there = run("ip", "netns", "list").split()
        for space in (name for name in there if name == site.namespace or name.startswith(f"{site.namespace}-")):
            _try("ip", "netns", "delete", space)
        for port in (f"itl-m{site.number}", f"itl-u{site.number}"):
            _try("ip", "link", "delete", port)
    for bridge in (BRIDGE, "itl-wire"):
        _try("ip", "link", "delete", bridge)
