"""Two projects with equal names, prefixes and even host addresses: neither sees, reaches or changes the other's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.net.topologies.frames import Wire
from tests.net.topologies.rig import Rig, until
from tests.net.vxlan_lab import control

PAIRS = {"l2": ("a", "b"), "l3": ("x", "y")}


def token(rig: Rig, site: str, project: str) -> str:
    return str(rig[site].post("/v1/tokens", {"project": project, "role": "member"})["token"])


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("kind", ["l2", "l3"])
def test_each_project_reaches_its_own_and_only_its_own(rig: Rig, kind: str, version: int) -> None:
    """Both projects' hosts have one and the same address; while one is asked, nothing at all passes the other."""
    near, far = PAIRS[kind]
    there = rig.address("lyon", f"red-{far}", version)
    assert there == rig.address("lyon", f"green-{far}", version)
    for mine, theirs in (("red", "green"), ("green", "red")):
        wire = Wire.open(rig.ns("lyon", f"{theirs}-{far}"))
        try:
            assert rig.see.answers(rig.ns("nantes", f"{mine}-{near}"), there, 20, timeout=3.0) == 20
            passed = wire.during(0.2)
        finally:
            wire.close()
        echoes = [frame for frame in passed if frame[12:14] in (b"\x08\x00", b"\x86\xdd")]
        echoes = [
            frame for frame in echoes if (frame[23] == 1 if version == 4 else frame[54:55] in (b"\x80", b"\x81"))
        ]
        assert echoes == []


def test_a_broadcast_of_one_is_not_heard_by_the_other(rig: Rig) -> None:
    red, green = (Wire.open(rig.ns("nantes", f"{project}-a")) for project in ("red", "green"))
    ears = {project: Wire.open(rig.ns("lyon", f"{project}-b")) for project in ("red", "green")}
    try:
        red.send(control("02:00:00:00:00:01", 1))
        ears["red"].until(lambda frame: frame[:22] == control("02:00:00:00:00:01", 1)[:22])
        green.send(control("02:00:00:00:00:02", 2))
        before = ears["green"].until(lambda frame: frame[:22] == control("02:00:00:00:00:02", 2)[:22])
        assert not [frame for frame in before if frame[6:12] == bytes.fromhex("020000000001")]
    finally:
        for wire in (red, green, *ears.values()):
            wire.close()


@pytest.mark.parametrize("site", ["nantes", "lyon"])
def test_lists_show_only_what_is_ones_own(rig: Rig, site: str) -> None:
    red, green = (token(rig, site, project) for project in ("red", "green"))
    for path in ("/v1/vpns", "/v1/networks", "/v1/hosts"):
        mine, theirs = (rig[site].items(path, token=each) for each in (red, green))
        assert len(mine) == len(theirs) == 2, path
        assert {each["id"] for each in mine}.isdisjoint(each["id"] for each in theirs)
        assert {each["project"] for each in mine} == {"red"}


def test_what_is_anothers_is_not_found_whatever_is_done_to_it(rig: Rig) -> None:
    site = rig["lyon"]
    red = token(rig, "lyon", "red")
    wish: dict[str, Any] = {"attachments": [{"site": "nantes", "network": "blue"}, {"site": "lyon"}]}
    vpns = [each["id"] for each in site.items("/v1/vpns", project="green", token=token(rig, "lyon", "green"))]
    assert len(vpns) == 2
    for id in vpns:
        asked = [
            site.call("GET", f"/v1/vpns/{id}", token=red),
            site.call("PUT", f"/v1/vpns/{id}", wish, token=red),
            site.call("DELETE", f"/v1/vpns/{id}", token=red),
            site.call("DELETE", f"/v1/vpns/{id}?force=true", token=red),
            site.call("POST", f"/v1/vpns/{id}/verify", token=red),
        ]
        assert [(answer.status_code, answer.json()["code"]) for answer in asked] == [(404, "not-found")] * len(asked)
    host = site.hosts["green-b"]["id"]
    network = next(n["id"] for n in site.items("/v1/networks") if n["project"] == "green")
    for path in (f"/v1/hosts/{host}", f"/v1/networks/{network}"):
        for method in ("GET", "DELETE"):
            assert site.call(method, path, token=red).status_code == 404, (method, path)


def test_when_one_ends_the_other_goes_on(rig: Rig) -> None:
    """Zero loss in green while red deletes both its Vpns and the hosts that have green's very addresses."""
    here, there = rig.ns("nantes", "green-a"), rig.address("lyon", "green-b")
    routed, beyond = rig.ns("nantes", "green-x"), rig.address("lyon", "green-y")
    with rig.see.stream(here, there) as stretched, rig.see.stream(routed, beyond) as across:
        for site, hosts in (("nantes", ("red-a", "red-x")), ("lyon", ("red-b", "red-y"))):
            for host in hosts:
                rig.remove_host(site, host, project="red")
        for name in ("stretch", "route"):
            id = next(v["id"] for v in rig["nantes"].items(f"/v1/vpns?name={name}") if v["project"] == "red")
            assert rig["nantes"].delete(f"/v1/vpns/{id}", project="red", wait=20).status_code == 204
        until("nothing of red is left at lyon", lambda: not _vpns(rig, "lyon", "red"))
        across.go_on()
    stretched.check()
    across.check()
    assert len(_vpns(rig, "lyon", "green")) == 2


def _vpns(rig: Rig, site: str, project: str) -> list[Any]:
    return [v for v in rig[site].items("/v1/vpns") if v["project"] == project]
