"""Networks of three sites routed together: what crosses, who answers on the way, and who may not speak."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest

from intertie.drivers.linux.icmp import Outcome
from tests.net.topologies.frames import Wire, trace
from tests.net.topologies.hosts import Network
from tests.net.topologies.rig import Rig
from tests.net.vxlan_lab import ipv4, ipv6, udp

HOSTS = {"a": "nantes", "b": "lyon", "c": "rennes"}
OWN = {"nantes": ("10.20.1.0/24", "fd10:20:1::/64"), "lyon": ("10.20.2.0/24", "fd10:20:2::/64")}
FORGED = {4: ("10.20.3.77", "192.0.2.77", "10.20.2.77"), 6: ("fd10:20:3::77", "2001:db8::77", "fd10:20:2::77")}
"""Sources that nantes may not use: another member's, nobody's, the receiver's own."""
HONEST = {4: "10.20.1.77", 6: "fd10:20:1::77"}
PORT = 4242


@pytest.mark.parametrize("version", [4, 6])
def test_every_pair_of_hosts_pings_at_full_size(rig: Rig, version: int) -> None:
    pairs = rig.targets(HOSTS, version)
    assert rig.see.all_answer(pairs) == {}
    assert rig.see.all_answer(pairs, size=rig["nantes"].vpn("route")["mtu"]) == {}


@pytest.mark.parametrize("version", [4, 6])
def test_each_hop_answers_from_an_address_that_is_of_use(rig: Rig, version: int) -> None:
    """Without addresses of their own on the way, routers speak as their network's gateway, which can be pinged."""
    here, target = rig.ns("nantes", "a"), rig.address("lyon", "b", version)
    for hops, site in ((1, "nantes"), (2, "lyon")):
        message = trace(here, target, hops)
        assert message is not None, f"nobody answers after {hops} hops"
        assert message.outcome is Outcome.UNREACHABLE
        assert message.source in ip_network(OWN[site][version == 6]), (hops, message)
        assert rig.see.ping(here, str(message.source)).outcome is Outcome.REPLY
    last = trace(here, target, 3)
    assert last is not None
    assert (last.outcome, last.source) == (Outcome.REPLY, ip_address(target))


def forge(network: Network, version: int, sources: tuple[str, ...], target: str) -> None:
    """From inside `network`, a UDP packet to `target` for each source, which is also its text."""

    def send() -> None:
        family = socket.AF_INET if version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            for source in sources:
                payload = udp(PORT, PORT, source.encode())
                packet = ipv4(source, target, 17, payload) if version == 4 else ipv6(source, target, 17, payload)
                raw.sendto(packet, (target, 0))

    network.run(send)


def heard(rig: Rig, version: int, source: Network) -> set[str]:
    """Of the forged packets that `source` sends to b, those that arrive there, up to the honest one."""
    wire = Wire.open(rig.ns("lyon", "b"))
    try:
        forge(source, version, (*FORGED[version], HONEST[version]), rig.address("lyon", "b", version))
        frames = wire.until(lambda frame: HONEST[version].encode() in frame)
    finally:
        wire.close()
    return {text for text in FORGED[version] if any(text.encode() in frame for frame in frames)}


@pytest.mark.parametrize("version", [4, 6])
def test_a_member_cannot_speak_with_a_source_outside_its_prefixes(rig: Rig, version: int) -> None:
    """The packets leave from nantes' router itself, behind every check of its own: it is lyon that drops them."""
    router = next(name for name in rig.names("nantes") if name.startswith("nantes-r-"))
    inside = Network(f"/proc/{rig['nantes'].anchor}/root/run/netns/{router}")
    assert heard(rig, version, inside) == set()


def test_a_host_cannot_either(rig: Rig) -> None:
    assert heard(rig, 4, rig.ns("nantes", "a")) == set()
