"""What a topology is: the file `topology.toml` of a folder, as data. The rig (`rig.py`) makes it so.

sites = ["nantes", "lyon", "rennes"]        # the first invites the others
underlay = 4                                # IP version by which the sites reach one another
projects = ["demo"]                         # mapped onto themselves at every site

[[bridges]]                                 # somebody's, there before any network, with a machine on it
[[networks]]                                # site, name, prefix, and perhaps project, bridge
[[vpns]]                                    # made at the site of the first attachment
[[hosts]]                                   # site, name, network; by default its first free address
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from intertie.model.codec import read

FILE = "topology.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeThere:
    """A bridge with one port, `p-MACHINE`, to a machine (a namespace) of somebody else's, with these addresses and
    default gateways and whatever MTU the bridge has."""

    site: str
    name: str
    mac: str
    machine: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    mtu: int = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkThere:
    site: str
    name: str
    prefix: str
    project: str = "demo"
    bridge: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VpnThere:
    """`attachments` as the command line has them: SITE or SITE:NETWORK."""

    name: str
    kind: str
    attachments: tuple[str, ...]
    project: str = "demo"

    @property
    def home(self) -> str:
        return self.attachments[0].partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostThere:
    site: str
    name: str
    network: str
    project: str = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    sites: tuple[str, ...]
    underlay: int = 4
    projects: tuple[str, ...] = ("demo",)
    bridges: tuple[BridgeThere, ...] = ()
    networks: tuple[NetworkThere, ...] = ()
    vpns: tuple[VpnThere, ...] = ()
    hosts: tuple[HostThere, ...] = ()


def read_topology(folder: Path) -> Topology:
    """The topology that the folder describes."""
    return read(Topology, tomllib.loads((folder / FILE).read_text()))


def attachments(texts: tuple[str, ...]) -> list[dict[str, str]]:
    """`nantes:blue` → {site, network}, as the REST API takes them."""
    found = []
    for text in texts:
        site, _, network = text.partition(":")
        found.append({"site": site, "network": network} if network else {"site": site})
    return found
