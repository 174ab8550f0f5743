"""A bridge that was there before: a Vpn may use it, and changes nothing of it or of its other ports."""

from __future__ import annotations

from typing import Any

from pyroute2 import IPRoute

from tests.net.topologies.hosts import Network
from tests.net.topologies.rig import Rig, index, until
from tests.net.topologies.system import device, ports, remains
from tests.net.topologies.topology import HostThere, NetworkThere, VpnThere

BRIDGE, PORT = "brlab", "p-m1"
LAB = NetworkThere(site="nantes", name="lab", prefix="10.9.0.0/24,fd10:9::/64", bridge=BRIDGE)
STRETCH = VpnThere(name="stretch", kind="l2", attachments=("nantes:lab", "lyon"))


def operators_own(rig: Rig) -> tuple[dict[str, Any], dict[str, Any]]:
    """Bridge and port as the operator made them; the mark that says whose network it is, is an other name."""
    bridge, port = device(rig, "nantes", BRIDGE), device(rig, "nantes", PORT)
    return {**bridge, "other names": []}, port


def own_settings(nl: IPRoute) -> None:
    """What an operator might have set: an address, ageing, a long queue."""
    nl.addr("add", index=index(nl, BRIDGE), address="10.9.0.250", prefixlen=24)
    nl.link("set", index=index(nl, BRIDGE), txqlen=77)
    nl.link("set", index=index(nl, BRIDGE), kind="bridge", br_ageing_time=12300, br_forward_delay=400)


def test_attached_used_and_left_as_it_was(rig: Rig) -> None:
    rig.at("nantes").netlink(own_settings)
    before, everything = operators_own(rig), remains(rig, "nantes")
    untouched = device(rig, "nantes", BRIDGE)
    assert untouched["other names"] == []
    machine = rig["nantes"].machine("m1")
    with rig.see.stream(machine, "10.9.0.250") as local:
        rig.network(LAB)
        rig.vpn(STRETCH)
        rig.host(HostThere(site="lyon", name="b", network="lab"))
        rig.wait_settled(STRETCH)
        assert operators_own(rig) == before
        assert ports(rig, "nantes", BRIDGE) > {PORT}
        crosses(rig, machine)
        rig.remove_host("lyon", "b")
        assert rig["nantes"].delete("/v1/vpns/stretch", wait=20).status_code == 204
        until("the Vpn's port is gone", lambda: ports(rig, "nantes", BRIDGE) == {PORT})
        assert operators_own(rig) == before
        rig["nantes"].delete("/v1/networks/lab")
        until("the mark is gone", lambda: device(rig, "nantes", BRIDGE) == untouched)
        local.go_on()
    local.check()
    until("all is as before", lambda: remains(rig, "nantes") == everything)
    assert device(rig, "nantes", PORT) == before[1]


def crosses(rig: Rig, machine: Network) -> None:
    """The machine was there before the Vpn: its address is in nantes' part, and lyon's host reaches it."""
    for version in (4, 6):
        assert rig.see.answers(machine, rig.address("lyon", "b", version), timeout=5.0) == 3
    (member,) = [m for m in rig["nantes"].vpn("stretch")["members"] if m["site"] == "nantes"]
    assert member["answer"] == "accepted"
    network = next(n for n in rig["nantes"].items("/v1/networks") if n["name"] == "lab")
    assert network["bridge"] == BRIDGE
    assert network["mtu"] == 1450
