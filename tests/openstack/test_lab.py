"""The lab itself: what the other tests rest on is really there."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from typing import Any

import pytest

from lab.regions import Lab
from lab.settings import PASSWORD, Region


def ask(url: str, token: str = "", body: object = None, timeout: float = 30.0) -> tuple[Any, Any]:
    """(JSON, headers)."""
    headers = {"Content-Type": "application/json", **({"X-Auth-Token": token} if token else {})}
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=timeout) as reply:
        return json.load(reply), reply.headers


def login(region: Region, user: str, project: str) -> tuple[str, dict[str, str]]:
    """(token, region → address of its Neutron as the catalogue has it)."""
    who = {"name": user, "domain": {"id": "default"}, "password": PASSWORD}
    scope = {"project": {"name": project, "domain": {"id": "default"}}}
    wish = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
    told, headers = ask(f"{region.keystone_url}/auth/tokens", body=wish)
    network = next(s for s in told["token"]["catalog"] if s["type"] == "network")
    return headers["X-Subject-Token"], {
        e["region"]: e["url"] for e in network["endpoints"] if e["interface"] == "public"
    }


def network_with_all(region: Region, name: str) -> str:
    """A network with a subnet, a port and a BGPVPN; its id."""
    token, _ = login(region, "admin", "admin")

    def make(path: str, what: str, **facts: object) -> dict[str, Any]:
        told, _ = ask(f"{region.url}/v2.0/{path}", token, {what: facts})
        found: dict[str, Any] = told[what]
        return found

    network = make("networks", "network", name=name)
    id = str(network["id"])
    make("subnets", "subnet", network_id=id, ip_version=4, cidr="10.40.0.0/24")
    port = make("ports", "port", network_id=id)
    assert port["fixed_ips"][0]["ip_address"].startswith("10.40.0.")
    vpn = make("bgpvpn/bgpvpns", "bgpvpn", name=name, type="l2", route_targets=["64512:77"])
    made = make(f"bgpvpn/bgpvpns/{vpn['id']}/network_associations", "network_association", network_id=id)
    assert made["network_id"] == id
    return id


def test_two_regions_share_a_keystone_and_no_network(regions: Lab) -> None:
    one, two = regions.regions
    _, catalogue = login(one, "demo-member", "demo")
    assert catalogue == {one.name: one.url, two.name: two.url}
    made = {network_with_all(region, "shared-keystone") for region in regions.regions}
    assert len(made) == 2


def test_two_clouds_share_nothing(clouds: Lab) -> None:
    one, two = clouds.regions
    token, catalogue = login(one, "demo-member", "demo")
    assert catalogue == {one.name: one.url}
    assert clouds.tenants[0]["demo"] != clouds.tenants[1]["demo"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{two.url}/v2.0/networks", token)
    assert refused.value.code == 401
    network_with_all(two, "own-keystone")


def test_a_reader_may_look_and_not_make(regions: Lab) -> None:
    (region, _) = regions.regions
    token, _ = login(region, "demo-reader", "demo")
    assert "networks" in ask(f"{region.url}/v2.0/networks", token)[0]
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"{region.url}/v2.0/networks", token, {"network": {"name": "no"}})
    assert refused.value.code == 403


def test_a_region_that_stands_still_stops_no_other(regions: Lab) -> None:
    one, two = regions.regions
    token, _ = login(one, "admin", "admin")
    os.kill(regions.pids["neutron-0"], signal.SIGSTOP)
    try:
        with pytest.raises(TimeoutError):
            ask(f"{one.url}/v2.0/networks", token, timeout=2)
        assert "networks" in ask(f"{two.url}/v2.0/networks", token)[0]
    finally:
        os.kill(regions.pids["neutron-0"], signal.SIGCONT)
    assert "networks" in ask(f"{one.url}/v2.0/networks", token)[0]
