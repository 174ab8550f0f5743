"""Machines that keep sending 1500 octets into Vpns that carry 1450: they are told, and TCP flows."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from intertie.drivers.linux.icmp import Outcome
from tests.net.topologies.frames import tcp
from tests.net.topologies.rig import Rig

MTU = 1450
WAYS = {
    ("l2", 4): ("m1", "m2", "10.10.0.200"),
    ("l2", 6): ("m1", "m2", "fd10:10::c000:0:0:5"),
    ("l3", 4): ("m3", "m4", "10.20.2.5"),
    ("l3", 6): ("m3", "m4", "fd10:20:2::5"),
}
ways = pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way[0]}-v{way[1]}")


@ways
def test_a_packet_that_is_too_big_is_answered_with_what_would_fit(rig: Rig, way: tuple[str, int]) -> None:
    near, _, target = WAYS[way]
    source = rig["nantes"].machine(near)
    assert rig.see.ping(source, target, timeout=5.0).outcome is Outcome.REPLY
    echo = rig.see.ping(source, target, size=1500, timeout=2.0)
    assert (echo.outcome, echo.mtu) == (Outcome.TOO_BIG, MTU)
    assert echo.source is not None, "said on the way, not by the sender's own kernel"
    assert echo.source.version == ip_address(target).version
    assert rig.see.ping(source, target, size=MTU, timeout=2.0).outcome is Outcome.REPLY


@ways
def test_tcp_flows_although_both_ends_offer_segments_for_1500(rig: Rig, way: tuple[str, int]) -> None:
    near, far, target = WAYS[way]
    octets = 4 << 20
    arrived, segment = tcp(rig["lyon"].machine(far), rig["nantes"].machine(near), target, octets)
    assert arrived == octets
    assert segment <= MTU - (40 if way[1] == 4 else 60)
