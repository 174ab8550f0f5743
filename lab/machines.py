"""Stand-ins for virtual machines: namespaces whose eth0 is plugged into a site's br-int as Nova does it."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any

from lab.environment import LabError
from lab.sites import Site, run

COUNTED = re.compile(r"(\d+) packets transmitted, (\d+) received")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One that runs; `port` is the id of its Neutron port."""

    name: str
    site: Site
    port: str
    mac: str
    interface: IPv4Interface | IPv6Interface
    gateway: str = ""
    mtu: int = 1442

    @property
    def namespace(self) -> str:
        return f"{self.site.namespace}-{self.name}"

    @property
    def tap(self) -> str:
        return f"tap{self.port[:11]}"

    @property
    def address(self) -> str:
        return str(self.interface.ip)


def boot(site: Site, name: str, port: dict[str, Any], subnet: dict[str, Any], mtu: int) -> Machine:
    """Plug a machine into what Neutron says of its port and subnet, with the addresses that DHCP would give it."""
    (fixed, *_) = port["fixed_ips"]
    length = str(subnet["cidr"]).partition("/")[2]
    machine = Machine(
        name=name,
        site=site,
        port=str(port["id"]),
        mac=str(port["mac_address"]),
        interface=ip_interface(f"{fixed['ip_address']}/{length}"),
        gateway=subnet.get("gateway_ip") or "",
        mtu=mtu,
    )
    plug(machine)
    return machine


def plug(machine: Machine) -> None:
    site, space = machine.site, machine.namespace
    run("ip", "netns", "add", space)
    site.run("ip", "link", "add", machine.tap, "type", "veth", "peer", "name", "eth0", "netns", space)
    run("ip", "-n", space, "link", "set", "lo", "up")
    run("ip", "-n", space, "link", "set", "eth0", "address", machine.mac, "mtu", str(machine.mtu), "up")
    # A switch in user space is handed packets whose checksums the kernel left to hardware that is not there.
    run("ip", "netns", "exec", space, "ethtool", "-K", "eth0", "tx", "off")
    site.run("ethtool", "-K", machine.tap, "tx", "off")
    site.run("ip", "link", "set", machine.tap, "mtu", str(machine.mtu), "up")
    run("ip", "-n", space, "address", "add", str(machine.interface), "dev", "eth0")
    if machine.gateway:
        run("ip", "-n", space, "route", "add", "default", "via", machine.gateway)
    ids = {"iface-id": machine.port, "attached-mac": machine.mac, "iface-status": "active", "vm-id": machine.name}
    words = [f"external_ids:{name}={value}" for name, value in ids.items()]
    site.vsctl("--may-exist", "add-port", "br-int", machine.tap, "--", "set", "Interface", machine.tap, *words)


def unplug(machine: Machine) -> None:
    machine.site.vsctl("--if-exists", "del-port", machine.tap)
    run("ip", "netns", "delete", machine.namespace)


def ping(machine: Machine, address: str, count: int = 3, size: int = 56) -> int:
    """How many of so many echoes, not to be fragmented, came back."""
    where = ["ip", "netns", "exec", machine.namespace]
    command = [*where, "ping", "-n", "-c", str(count), "-i", "0.2", "-W", "2", "-M", "do", "-s", str(size), address]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    found = COUNTED.search(said.stdout)
    if found is None:
        raise LabError(f"{' '.join(command)}: {said.stderr.strip() or said.stdout.strip()}")
    return int(found[2])


def reaches(machine: Machine, address: str, within: float = 30.0) -> float:
    """Seconds until an echo came back. LabError if none did in time."""
    began = time.monotonic()
    while time.monotonic() - began < within:
        if ping(machine, address, count=1):
            return time.monotonic() - began
    raise LabError(f"{machine.name} at {machine.site.name} does not reach {address} within {within:g} s")
