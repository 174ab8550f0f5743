"""IPv6 alone, below and above."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from intertie.drivers.linux.icmp import Outcome
from tests.net.topologies.frames import trace
from tests.net.topologies.rig import Rig

STRETCHED = {"a": "nantes", "b": "lyon", "c": "rennes"}
ROUTED = {"x": "nantes", "y": "lyon", "z": "rennes"}


def test_there_is_no_ipv4_at_all(rig: Rig) -> None:
    for host, place in (STRETCHED | ROUTED).items():
        assert {ip_address(a).version for a in rig[place].hosts[host]["addresses"]} == {6}
    for site in rig:
        peers = site.items("/v1/peers")
        assert all(peer["address"].startswith("[2001:db8:") for peer in peers)


@pytest.mark.parametrize(("hosts", "vpn"), [(STRETCHED, "stretch"), (ROUTED, "route")], ids=["l2", "l3"])
def test_every_pair_pings_and_the_mtu_is_proved(rig: Rig, hosts: dict[str, str], vpn: str) -> None:
    pairs = rig.targets(hosts, 6)
    mtu = rig["nantes"].vpn(vpn)["mtu"]
    assert mtu == 1430, "an IPv6 header is 20 octets longer than an IPv4 header"
    assert rig.see.all_answer(pairs) == {}
    assert rig.see.all_answer(pairs, size=mtu) == {}
    found = rig["rennes"].post(f"/v1/vpns/{vpn}/verify")
    assert found["ok"], found
    assert len(found["pairs"]) == 6


def test_the_two_vpns_do_not_meet(rig: Rig) -> None:
    for host, there in ROUTED.items():
        target = rig.address(there, host, 6)
        assert rig.see.answers(rig.ns("nantes", "a"), target, timeout=0.5) == 0


def test_routers_answer_with_their_gateways(rig: Rig) -> None:
    message = trace(rig.ns("nantes", "x"), rig.address("lyon", "y", 6), 2)
    assert message is not None
    assert (message.outcome, str(message.source)) == (Outcome.UNREACHABLE, "fd10:20:2::1")
