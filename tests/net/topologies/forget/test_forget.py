"""A site is forgotten by one other: from then on nothing of it enters there, whatever it still sends."""

from __future__ import annotations

import time

from tests.net.topologies.frames import Wire, mac_of
from tests.net.topologies.rig import Rig, until
from tests.net.topologies.system import is_vxlan, segments
from tests.net.vxlan_lab import control

AT_MOST = 5.0


def test_nothing_of_a_forgotten_site_enters_and_the_others_go_on(rig: Rig) -> None:
    vni = rig["nantes"].vpn("stretch")["vni"]
    a, b, c = rig.ns("nantes", "a"), rig.ns("lyon", "b"), rig.address("rennes", "c")
    assert rig.see.answers(b, rig.address("nantes", "a"), timeout=5.0) == 3
    with rig.see.stream(a, c) as kept, rig.see.stream(b, c) as unconcerned:
        begun = time.monotonic()
        rig["nantes"].delete("/v1/peers/lyon")
        until("nothing of lyon enters nantes", lambda: not enters(rig), AT_MOST)
        assert time.monotonic() - begun < AT_MOST
        kept.go_on()
        assert rig.see.answers(b, rig.address("nantes", "a")) == 0
        assert not enters(rig)
    kept.check()
    unconcerned.check()
    (segment,) = segments(rig, "nantes")
    assert [remote.site for remote in segment.remotes] == ["rennes"]
    still_sends(rig, vni)
    state = {peer["name"]: peer["state"] for peer in rig["nantes"].items("/v1/peers")}
    assert (state["lyon"], state["rennes"]) == ("forgotten", "up")


def enters(rig: Rig) -> bool:
    """Whether a broadcast of lyon's host is heard by nantes' host, up to one of rennes' that certainly is."""
    sender, honest = Wire.open(rig.ns("lyon", "b")), Wire.open(rig.ns("rennes", "c"))
    ear = Wire.open(rig.ns("nantes", "a"))
    removed, other = mac_of(rig.ns("lyon", "b")), mac_of(rig.ns("rennes", "c"))
    try:
        sender.send(control(removed, 1))
        honest.send(control(other, 2))
        heard = ear.until(lambda frame: frame[:22] == control(other, 2)[:22])
    finally:
        for wire in (sender, honest, ear):
            wire.close()
    return any(frame[:22] == control(removed, 1)[:22] for frame in heard)


def still_sends(rig: Rig, vni: int) -> None:
    """What is dropped at nantes did come as far as its underlay."""
    sender, underlay = Wire.open(rig.ns("lyon", "b")), Wire.open(rig.at("nantes"), "uplink")
    try:
        sender.send(control(mac_of(rig.ns("lyon", "b")), 3))
        underlay.until(lambda frame: is_vxlan(frame, rig["lyon"].underlay, vni))
    finally:
        sender.close()
        underlay.close()
