"""Sites, peers, mappings, networks, hosts, tokens over the API."""

from __future__ import annotations

from typing import Any

import pytest

from intertie.testing.federation import World
from tests.unit.api_lab import api_of, federation, is_problem, one_site, virtually


@virtually
async def test_a_site_says_what_it_can_carry() -> None:
    world, api = await one_site()
    told = (await api.get("/v1/site")).json()
    assert told.keys() >= {"name", "location", "version", "incarnation", "root_fingerprint", "transports"}
    assert told["transports"]["vxlan"].keys() >= {"ok", "l2", "l3", "encrypted", "overhead", "reason"}
    assert len(told["root_fingerprint"]) == 64
    await world.close()


@virtually
async def test_two_sites_come_to_know_each_other_and_part() -> None:
    world = World()
    nantes, lyon = api_of(await world.site("nantes")), api_of(await world.site("lyon"))
    invited = await nantes.post("/v1/invitations", {"name": "lyon", "expires_in": 60})
    assert invited.status_code == 201
    assert invited.json().keys() == {"token", "expires_at"}
    joined = await lyon.post("/v1/peers", {"token": invited.json()["token"]})
    assert (joined.status_code, joined.json()["name"]) == (201, "nantes")
    assert joined.headers["location"] == "/v1/peers/nantes"
    assert joined.json().keys() >= {"name", "state", "address", "last_seen", "rtt_ms"}
    await world.until(lambda: nantes.site.enrolment.peer("lyon").state == "up")
    [peer] = (await nantes.get("/v1/peers")).json()["items"]
    assert (peer["state"], peer["address"]) == ("up", "192.0.2.2:7576")
    # A second time changes nothing, and is no error.
    assert (await nantes.post("/v1/peers/lyon/approve")).json()["name"] == "lyon"
    is_problem(await nantes.post("/v1/peers/mars/approve"), 404, "not-found")
    is_problem(await nantes.post("/v1/invitations", {"name": "lyon"}), 409, "name-taken")
    is_problem(await nantes.post("/v1/invitations", {"name": "x", "expires_in": 90000}), 422, "invalid")
    is_problem(await lyon.post("/v1/peers", {"token": "nonsense"}), 422, "invalid")
    assert (await nantes.call("DELETE", "/v1/peers/lyon")).status_code == 204
    assert (await nantes.get("/v1/peers/lyon")).json()["state"] == "forgotten"
    is_problem(await nantes.call("DELETE", "/v1/peers/mars"), 404, "not-found")
    assert (await lyon.post("/v1/site/leave")).status_code == 204
    assert [p["state"] for p in (await lyon.get("/v1/peers")).json()["items"]] == ["forgotten"]
    await world.close()


@virtually
async def test_a_mapping_is_given_and_taken_back() -> None:
    world, apis = await federation("nantes", "lyon")
    api = apis["nantes"]
    made = await api.post("/v1/peers/lyon/mappings", {"theirs": "guests", "ours": "demo", "may": ["l2"]})
    assert (made.status_code, made.json()) == (
        201,
        {"peer": "lyon", "theirs": "guests", "ours": "demo", "may": ["l2"]},
    )
    assert made.json() in (await api.get("/v1/mappings")).json()["items"]
    assert (await api.get("/v1/peers/lyon/mappings")).json() == (await api.get("/v1/mappings")).json()
    await api.post("/v1/peers/lyon/mappings", {"theirs": "guests", "ours": "demo", "may": []})
    assert made.json() not in (await api.get("/v1/mappings")).json()["items"]
    is_problem(await api.post("/v1/peers/mars/mappings", {"theirs": "a", "ours": "b"}), 404, "not-found")
    is_problem(
        await api.post("/v1/peers/lyon/mappings", {"theirs": "a", "ours": "b", "may": ["all"]}), 422, "invalid"
    )
    await world.close()


@virtually
async def test_a_network_and_its_hosts() -> None:
    world, api = await one_site()
    made = await api.post("/v1/networks", {"name": "blue", "prefix": "10.0.0.0/24, fd00::/64", "mtu": 1400})
    assert made.status_code == 201
    network = made.json()
    assert network.keys() >= {
        *("id", "name", "site", "project", "prefixes", "mtu", "addresses_in_use", "attachable", "reason"),
    }
    assert (network["prefixes"], network["mtu"]) == (["10.0.0.0/24", "fd00::/64"], 1400)
    assert (await api.get(made.headers["location"])).json()["id"] == network["id"]
    host = await api.post("/v1/hosts", {"name": "h1", "network": "blue"})
    assert host.status_code == 201
    assert host.json().keys() >= {"name", "site", "network", "address", "mtu"}
    assert (host.json()["network"], len(host.json()["addresses"])) == ("blue", 2)
    assert (await api.get(host.headers["location"])).json() == host.json()
    wanted = await api.post("/v1/hosts", {"name": "h2", "network": network["id"], "addresses": ["10.0.0.77"]})
    assert wanted.json()["addresses"] == ["10.0.0.77"]
    is_problem(await api.post("/v1/hosts", {"name": "h1", "network": "blue"}), 409, "name-taken")
    told = is_problem(await api.call("DELETE", "/v1/networks/blue"), 409, "in-use")
    assert "h1" in told["hint"]
    for name in ("h1", wanted.json()["id"]):
        assert (await api.call("DELETE", f"/v1/hosts/{name}")).status_code == 204
    is_problem(await api.call("DELETE", "/v1/hosts/h1"), 404, "not-found")
    await world.until(lambda: not world.systems["nantes"].hosts)
    assert (await api.call("DELETE", "/v1/networks/blue")).status_code == 204
    is_problem(await api.get("/v1/networks/blue"), 404, "not-found")
    await world.close()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "b"}, "invalid"),
        ({"name": "b", "prefix": "10.0.0.1/24"}, "invalid"),
        ({"name": "b", "prefix": "10.0.0.0/32"}, "prefix-too-small"),
        ({"name": "b", "prefixes": ["10.0.0.0/8", "10.1.0.0/16"]}, "overlap"),
        ({"name": "b", "prefix": "blue"}, "invalid"),
        ({"name": "b", "prefix": "10.0.0.0/24", "bridge": "br0; rm"}, "invalid"),
        ({"name": "b", "prefix": "10.0.0.0/24", "mtu": 70000}, "invalid"),
        ({"name": "-b", "prefix": "10.0.0.0/24"}, "invalid"),
    ],
)
@virtually
async def test_networks_that_cannot_be(body: dict[str, Any], code: str) -> None:
    world, api = await one_site()
    response = await api.post("/v1/networks", body)
    is_problem(response, 409 if code == "overlap" else 422, code)
    assert (await api.get("/v1/networks")).json()["items"] == []
    await world.close()


@virtually
async def test_an_existing_bridge_is_the_operators_to_give() -> None:
    world, api = await one_site()
    body = {"name": "b", "prefix": "10.0.0.0/24", "bridge": "br0"}
    is_problem(await api.post("/v1/networks", body, await api.token("member")), 403, "forbidden")
    await world.close()


@pytest.mark.parametrize(
    "body",
    [{"project": "p", "role": "root"}, {"project": "P", "role": "reader"}, {"role": "reader"}, {"project": "p"}],
)
@virtually
async def test_tokens_that_cannot_be(body: dict[str, Any]) -> None:
    world, api = await one_site()
    is_problem(await api.post("/v1/tokens", body), 422, "invalid")
    is_problem(await api.call("DELETE", "/v1/tokens/nothing"), 404, "not-found")
    assert (await api.get("/v1/tokens")).json()["items"] == []
    await world.close()


@pytest.mark.parametrize("addresses", [["10.0.0.300"], ["x"], ["10.0.1.1"], ["10.0.0.0"]])
@virtually
async def test_addresses_that_cannot_be(addresses: list[str]) -> None:
    world, api = await one_site()
    await world.net("nantes", "blue", "10.0.0.0/24")
    response = await api.post("/v1/hosts", {"name": "h", "network": "blue", "addresses": addresses})
    assert response.status_code in (409, 422)
    is_problem(response, response.status_code, response.json()["code"])
    assert (await api.get("/v1/hosts")).json()["items"] == []
    await world.close()
