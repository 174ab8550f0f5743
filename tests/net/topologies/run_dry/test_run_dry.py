"""A site that runs out of addresses gets more from the others, and hosts that have those are reached."""

from __future__ import annotations

from functools import partial
from ipaddress import ip_address
from typing import Any

from tests.net.topologies.rig import Rig, until

HOSTS = 7
"""At lyon. Its share has room for three."""


def held(rig: Rig, site: str) -> list[dict[str, str]]:
    members: list[dict[str, Any]] = rig[site].vpn("stretch")["members"]
    return next(list(m["ranges"]) for m in members if m["site"] == site)


def count(ranges: list[dict[str, str]]) -> int:
    v4 = [(ip_address(r["first"]), ip_address(r["last"])) for r in ranges if ":" not in r["first"]]
    return sum(int(last) - int(first) + 1 for first, last in v4)


def reached(rig: Rig, target: str) -> bool:
    return rig.see.answers(rig.ns("nantes", "a"), target) == 3


def host(rig: Rig, site: str, name: str) -> bool:
    answer = rig[site].call("POST", "/v1/hosts", {"name": name, "network": "blue"})
    assert answer.status_code == 201 or answer.json()["code"] == "quota", answer.text
    if answer.status_code == 201:
        rig[site].hosts[name] = answer.json()
    return name in rig[site].hosts


def test_more_hosts_than_the_share_has_room_for_get_addresses_and_are_reached(rig: Rig) -> None:
    before = count(held(rig, "lyon"))
    names = [f"b{n}" for n in range(HOSTS)]
    for name in names:
        until(f"lyon has an address for {name}", partial(host, rig, "lyon", name))
    assert count(held(rig, "lyon")) > before
    until("everybody holds what nobody else holds", lambda: sum(count(held(rig, s.name)) for s in rig) == 14)
    for name in names:
        until(f"{name} is up", partial(rig.see.up, rig.ns("lyon", name)))
        for version in (4, 6):
            target = rig.address("lyon", name, version)
            until(f"a reaches {target}", partial(reached, rig, target))


def test_a_host_that_finds_no_address_is_told_why(rig: Rig) -> None:
    refused = None
    for n in range(14):
        answer = rig["lyon"].call("POST", "/v1/hosts", {"name": f"c{n}", "network": "blue"})
        if answer.status_code != 201 and "asked" not in answer.json()["detail"]:
            refused = answer.json()
            break
    assert refused is not None
    assert refused["code"] == "quota"
    assert "nantes keeps its last one" in refused["detail"] or "nantes has none free" in refused["detail"]
    assert "rennes" in refused["detail"]
