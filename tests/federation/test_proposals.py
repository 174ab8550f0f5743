"""Rule 13: a change that is asked for at a member, through the API, from the first word to the home's last."""

from __future__ import annotations

import asyncio
from typing import Any

from intertie.agent.vpns import PROPOSAL_LIFE
from intertie.model.records import Kind
from intertie.testing.federation import OPERATOR, World
from tests.unit.api_lab import Api, api_of, federation, is_problem, virtually, wish

BLUE = wish("blue", "l2", "nantes:blue", "lyon", "rennes")
LESS = wish("blue", "l2", "nantes:blue", "lyon")["attachments"]
WAIT = {"Prefer": "wait=10"}
ANY = {"If_Match": "*", **WAIT}


async def three() -> tuple[World, Api, Api]:
    """nantes, the home of blue, and lyon, at which is asked."""
    world, apis = await federation("nantes", "lyon", "rennes")
    await world.net("nantes", "blue", "10.0.0.0/24")
    assert (await apis["nantes"].post("/v1/vpns", BLUE, **WAIT)).status_code == 201
    await agreed(world)
    return world, apis["nantes"], apis["lyon"]


async def agreed(world: World) -> None:
    """Until all sites show one version of each Vpn."""
    await world.until(lambda: len({_versions(world, s) for s in world.running}) == 1)


def _versions(world: World, site: str) -> tuple[Any, ...]:
    vpns = world.running[site].vpns.all(OPERATOR)
    return tuple((v.id, v.epoch, v.version) for v in vpns)


async def proposals(api: Api, name: str = "blue") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await api.get(f"/v1/vpns/{name}")).json()["proposals"]
    return found


@virtually
async def test_a_rename_a_removal_and_an_end_asked_for_at_a_member() -> None:
    world, nantes, lyon = await three()
    renamed = await lyon.call("PUT", "/v1/vpns/blue", {"name": "azure", **_only(BLUE)}, If_Match="*", **WAIT)
    assert (renamed.status_code, renamed.json()["name"]) == (200, "azure")
    assert (await nantes.get("/v1/vpns/azure")).status_code == 200
    await agreed(world)
    less = await lyon.call("PUT", "/v1/vpns/azure", {"attachments": LESS}, If_Match="*", **WAIT)
    assert less.status_code == 200
    await world.until(lambda: not world.running["rennes"].segments())
    await agreed_of(world, "nantes", "lyon")
    ended = await lyon.call("DELETE", "/v1/vpns/azure", None, If_Match="*", **WAIT)
    assert ended.status_code == 204
    assert (await nantes.get("/v1/vpns/azure")).status_code == 404
    assert not [r for r in lyon.site.agent.table.of(Kind.PROPOSAL) if r.live], "what was answered is not kept"
    await world.close()


def _only(body: dict[str, Any]) -> dict[str, Any]:
    return {"attachments": body["attachments"]}


async def agreed_of(world: World, *sites: str) -> None:
    await world.until(lambda: len({_versions(world, s) for s in sites}) == 1)


@virtually
async def test_a_member_asks_to_leave_and_the_home_cannot_be_left_out() -> None:
    world, _nantes, lyon = await three()
    plan = await lyon.call("PUT", "/v1/vpns/blue?plan=true", _without(BLUE, "lyon"), If_Match="*")
    assert plan.status_code == 200, plan.text
    assert {c["site"] for c in plan.json()["changes"] if c["op"] == "-"} == {"lyon"}
    base = plan.json()["base_version"]
    left = await lyon.call("PUT", "/v1/vpns/blue", _without(BLUE, "lyon"), If_Match=f'"{base}"', **WAIT)
    assert left.status_code == 200, left.text
    await world.until(lambda: not world.running["lyon"].segments())
    rennes = api_of(world.running["rennes"])
    told = await rennes.call("PUT", "/v1/vpns/blue", {"attachments": [{"site": "rennes"}, {"site": "lyon"}]}, **ANY)
    assert "stays a member" in is_problem(told, 422, "invalid")["detail"]
    await world.close()


def _without(body: dict[str, Any], site: str) -> dict[str, Any]:
    return {"attachments": [a for a in body["attachments"] if a["site"] != site]}


@virtually
async def test_an_end_by_force_is_asked_for_as_well() -> None:
    world, _nantes, lyon = await three()
    assert (await lyon.post("/v1/hosts", {"name": "h", "network": "blue"})).status_code == 201
    await world.until(lambda: bool(world.systems["lyon"].hosts))
    busy = await lyon.call("DELETE", "/v1/vpns/blue", None, **ANY)
    assert is_problem(busy, 409, "in-use")["sites"] == ["lyon"]
    await agreed(world)
    assert (await lyon.call("DELETE", "/v1/vpns/blue?force=true", None, **ANY)).status_code == 204
    await world.until(lambda: not world.running["lyon"].segments())
    assert world.systems["lyon"].hosts, "what is in use is not destroyed"
    await world.close()


@virtually
async def test_what_waits_for_a_silent_home_is_shown_and_can_be_withdrawn() -> None:
    world, nantes, lyon = await three()
    world.isolate("nantes")
    asked = await lyon.call("PUT", "/v1/vpns/blue", {"name": "azure", **_only(BLUE)}, If_Match="*")
    assert asked.status_code == 202
    (shown,) = await proposals(lyon)
    assert shown["proposal"] == asked.json()["pending"]["proposal"]
    assert (shown["change"], shown["name"], shown["waiting_for"]) == ("update", "azure", "nantes")
    assert (await api_of(world.running["rennes"]).get("/v1/vpns/blue")).json()["proposals"] == []
    path = f"/v1/vpns/blue/proposals/{shown['proposal']}"
    is_problem(await lyon.call("DELETE", path, None, await lyon.token("member", "other")), 404, "not-found")
    is_problem(await lyon.call("DELETE", path, None, await lyon.token("reader")), 403, "forbidden")
    assert (await lyon.call("DELETE", path)).status_code == 204
    is_problem(await lyon.call("DELETE", path), 404, "not-found")
    assert await proposals(lyon) == []
    world.heal()
    await asyncio.sleep(30)
    assert (await nantes.get("/v1/vpns/blue")).json()["name"] == "blue", "it never came about"
    await world.close()


@virtually
async def test_a_home_that_returns_applies_what_waited_or_says_why_not() -> None:
    world, nantes, lyon = await three()
    world.isolate("nantes")
    await lyon.call("PUT", "/v1/vpns/blue", {"name": "azure", **_only(BLUE)}, If_Match="*")
    await lyon.call("DELETE", "/v1/vpns/blue", None, If_Match="*")
    assert [p["change"] for p in await proposals(lyon)] == ["update", "delete"]
    world.heal()
    await world.until(lambda: any(v.name == "azure" for v in nantes.site.vpns.all(OPERATOR)))
    await agreed(world)
    await world.until(lambda: [p.answer for p in lyon.site.vpns.all(OPERATOR)[0].proposals] == ["refused"])
    (refused,) = await proposals(lyon, "azure")
    assert (refused["change"], refused["reason"]) == ("delete", "the Vpn was changed meanwhile")
    assert refused["hint"], "who asked and did not wait finds why nothing came of it"
    await asyncio.sleep(PROPOSAL_LIFE.total_seconds() + 70)
    assert await proposals(lyon, "azure") == [], "and not for ever"
    await world.close()


@virtually
async def test_a_plan_made_at_a_member_is_refused_when_the_world_moved() -> None:
    world, nantes, lyon = await three()
    body = {"name": "azure", "attachments": LESS}
    plan = (await lyon.call("PUT", "/v1/vpns/blue?plan=true", body, If_Match="*")).json()
    base = f'"{plan["base_version"]}"'
    await nantes.call("PUT", "/v1/vpns/blue", {"name": "green", **_only(BLUE)}, **ANY)
    await agreed(world)
    is_problem(await lyon.call("PUT", "/v1/vpns/green", body, If_Match=base, **WAIT), 412, "stale")
    plan = (await lyon.call("DELETE", "/v1/vpns/green?plan=true", None, If_Match="*")).json()
    assert {c["site"] for c in plan["changes"]} == {"nantes", "lyon", "rennes"}
    base = f'"{plan["base_version"]}"'
    assert (await lyon.post("/v1/hosts", {"name": "late", "network": "blue"})).status_code == 201
    # The version is what it was; a port came that the plan did not know.
    is_problem(await lyon.call("DELETE", "/v1/vpns/green", None, If_Match=base, **WAIT), 412, "stale")
    await world.close()


@virtually
async def test_a_token_is_made_once_for_a_key() -> None:
    world, nantes, _lyon = await three()
    body = {"project": "demo", "role": "reader"}
    first = (await nantes.post("/v1/tokens", body, Idempotency_Key="k")).json()
    again = (await nantes.post("/v1/tokens", body, Idempotency_Key="k")).json()
    assert first["token"] != again["token"]
    assert [t.id for t in nantes.site.tokens.all()] == [again["id"]]
    is_problem(await nantes.get("/v1/site", first["token"]), 401, "unauthenticated")
    assert (await nantes.get("/v1/site", again["token"])).status_code == 200
    is_problem(await nantes.post("/v1/tokens", body | {"role": "admin"}, Idempotency_Key="k"), 422, "invalid")
    await world.close()
