"""Vpns end: not while hosts need them, without harm when forced, and leaving nothing behind anywhere."""

from __future__ import annotations

from typing import Any

from tests.net.topologies.rig import Rig, until
from tests.net.topologies.system import Remains, remains
from tests.net.topologies.topology import HostThere, VpnThere

STRETCH = VpnThere(name="stretch", kind="l2", attachments=("nantes:blue", "lyon", "rennes"))
ROUTE = VpnThere(name="route", kind="l3", attachments=("nantes:db", "lyon:db"))
WHOLE = [
    {"first": "10.10.0.1", "last": "10.10.0.254"},
    {"first": "fd10:10::1", "last": "fd10:10::ffff:ffff:ffff:ffff"},
]
"""All that is usable of the network's prefixes."""


def ranges(rig: Rig) -> list[dict[str, str]]:
    network: dict[str, Any] = next(n for n in rig["nantes"].items("/v1/networks") if n["name"] == "blue")
    return list(network["ranges"])


def everywhere(rig: Rig) -> dict[str, Remains]:
    return {site.name: remains(rig, site.name) for site in rig}


def make_stretch(rig: Rig) -> None:
    rig.vpn(STRETCH)
    rig.host(HostThere(site="lyon", name="b", network="blue"))
    rig.wait_settled(STRETCH)
    assert rig.see.answers(rig.ns("nantes", "a"), rig.address("lyon", "b"), timeout=5.0) == 3


def test_a_delete_waits_for_the_last_port_and_then_nothing_remains(rig: Rig) -> None:
    before, whole = everywhere(rig), ranges(rig)
    assert whole == WHOLE
    make_stretch(rig)
    assert ranges(rig) != whole
    with rig.see.stream(rig.ns("nantes", "a"), rig.address("lyon", "b")) as stream:
        refused = rig["nantes"].call("DELETE", "/v1/vpns/stretch", wait=3)
        assert refused.status_code == 409
        assert (refused.json()["code"], refused.json()["sites"]) == ("in-use", ["lyon"])
        assert rig["nantes"].vpn("stretch")["phase"] == "deleting"
        late = rig["lyon"].call("POST", "/v1/hosts", {"name": "late", "network": "blue"})
        assert late.json()["code"] == "in-use", "it takes no new ports"
        stream.go_on()
    stream.check()
    rig["lyon"].delete("/v1/hosts/b")
    until("the Vpn is gone everywhere", lambda: all(not site.items("/v1/vpns") for site in rig))
    until("nothing of it remains anywhere", lambda: everywhere(rig) == before)
    until("the network has its range back", lambda: ranges(rig) == whole)


def test_a_forced_delete_destroys_nothing_in_use(rig: Rig) -> None:
    before, whole = everywhere(rig), ranges(rig)
    make_stretch(rig)
    address = rig.address("lyon", "b")
    assert rig["nantes"].delete("/v1/vpns/stretch?force=true", wait=20).status_code == 204
    until("rennes, which used nothing, has nothing", lambda: remains(rig, "rennes") == before["rennes"])
    until("nantes too", lambda: remains(rig, "nantes") == before["nantes"])
    until("lyon forwards nothing any more", lambda: not _vxlan(rig, "lyon"))
    assert rig.see.up(rig.ns("lyon", "b")), "the host that was in use is there with its address"
    assert rig.see.answers(rig.ns("lyon", "b"), address) == 3
    assert rig.see.answers(rig.ns("nantes", "a"), address) == 0
    assert ranges(rig) == whole
    rig["lyon"].delete("/v1/hosts/b")
    until("lyon's network goes with its last port", lambda: everywhere(rig) == before)


def _vxlan(rig: Rig, site: str) -> list[str]:
    return [name for name in remains(rig, site).devices if name.startswith("vx")]


def test_a_routed_vpn_takes_its_routers_along_and_leaves_hosts_alone(rig: Rig) -> None:
    before = everywhere(rig)
    rig.vpn(ROUTE)
    rig.wait_settled(ROUTE)
    assert rig.see.answers(rig.ns("nantes", "x"), rig.address("lyon", "y"), timeout=5.0) == 3
    assert any(name.startswith("nantes-r-") for name in rig.names("nantes"))
    assert rig["nantes"].delete("/v1/vpns/route", wait=20).status_code == 204
    until("nothing of it remains anywhere", lambda: everywhere(rig) == before)
    assert rig.see.answers(rig.ns("nantes", "x"), rig.address("lyon", "y")) == 0
    assert rig.see.up(rig.ns("lyon", "y"))
