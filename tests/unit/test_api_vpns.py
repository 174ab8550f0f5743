"""/v1/vpns, as docs/interface.md promises it."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertie.api.conditions import tags_of, wait_of
from intertie.api.paging import Window, key_of
from intertie.testing.federation import World
from intertie.testing.virtual_time import VirtualClock
from tests.unit.api_lab import DEMO, Api, api_of, federation, is_problem, virtually, wish

VPN = {
    *("id", "name", "kind", "project", "owner", "epoch", "version", "transport", "vni", "route_target", "mtu"),
    *("require", "phase", "reason", "created_at", "members"),
}
MEMBER = {
    *("site", "network", "answer", "reason", "ranges", "ports_in_use", "health", "rtt_ms", "loss", "probed_at"),
}
BLUE = wish("blue", "l2", "nantes:blue", "lyon")
THREE = wish("blue", "l2", "nantes:blue", "lyon", "rennes")
WAIT = {"Prefer": "wait=10"}


async def three() -> tuple[World, Api, Api]:
    """nantes with network blue, and lyon; rennes is there too."""
    world, apis = await federation("nantes", "lyon", "rennes")
    await world.net("nantes", "blue", "10.0.0.0/24")
    return world, apis["nantes"], apis["lyon"]


async def same_version(world: World, *apis: Api) -> str:
    """Until these sites show one version of Vpn blue: its ETag."""
    for _ in range(100):
        tags = {(await api.get("/v1/vpns/blue")).headers["etag"] for api in apis}
        if len(tags) == 1:
            return tags.pop()
        await asyncio.sleep(0.05)
    raise AssertionError(tags)


async def made(api: Api, body: dict[str, Any] = BLUE) -> Any:
    response = await api.post("/v1/vpns", body, **WAIT)
    assert response.status_code == 201, response.text
    return response.json()


@virtually
async def test_a_vpn_is_made_shown_and_ready() -> None:
    world, nantes, lyon = await three()
    response = await nantes.post("/v1/vpns", BLUE, Prefer="wait=10")
    assert response.status_code == 201
    assert response.headers["preference-applied"] == "wait=10"
    vpn = response.json()
    assert vpn.keys() >= VPN
    assert vpn["members"][0].keys() >= MEMBER
    assert [m["answer"] for m in vpn["members"]] == ["accepted", "accepted"]
    assert response.headers["location"] == f"/v1/vpns/{vpn['id']}"
    assert response.headers["etag"] == f'"{vpn["epoch"]}.{vpn["version"][0]}.{vpn["version"][1]}"'
    await same_version(world, nantes, lyon)
    await world.until(lambda: world.phase("lyon", vpn["id"]) == "ready")
    ready = (await lyon.get("/v1/vpns/blue")).json()
    assert ready["pairs"] == [
        {"from": "nantes", "to": "lyon", "health": "ready"}
        | {k: ready["pairs"][0][k] for k in ("rtt_ms", "loss", "probed_at")}
    ]
    for moment in (ready["created_at"], ready["members"][0]["probed_at"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", moment)
    assert ready["members"][1]["ranges"] == [{"first": "10.0.0.129", "last": "10.0.0.254"}]
    await world.close()


@virtually
async def test_without_wait_the_answer_comes_at_once() -> None:
    world, nantes, _ = await three()
    world.isolate("lyon")
    begun = asyncio.get_running_loop().time()
    response = await nantes.post("/v1/vpns", BLUE)
    assert asyncio.get_running_loop().time() - begun < 0.01
    assert response.status_code == 201
    assert "preference-applied" not in response.headers
    assert [m["answer"] for m in response.json()["members"]] == ["accepted", "waiting"]
    assert response.json()["phase"] == "waiting"
    await world.net("nantes", "red", "10.5.0.0/24")
    begun = asyncio.get_running_loop().time()
    slow = await nantes.post("/v1/vpns", wish("red", "l2", "nantes:red", "lyon"), **WAIT)
    # Silence is neither a yes nor a no: the wait ends, the Vpn stands.
    assert 10 <= asyncio.get_running_loop().time() - begun < 11
    assert (slow.status_code, slow.json()["phase"]) == (201, "waiting")
    await world.close()


@virtually
async def test_a_refusal_that_is_waited_for_leaves_nothing_behind() -> None:
    world, nantes, lyon = await three()
    for mapping in lyon.site.enrolment.mappings("nantes"):
        await lyon.site.enrolment.map("nantes", mapping.theirs, mapping.ours, ())
    response = await nantes.post("/v1/vpns", BLUE, **WAIT)
    told = is_problem(response, 409, response.json()["code"])
    assert told["sites"] == ["lyon"]
    assert "intertie site map nantes demo" in told["hint"]
    assert (await nantes.get("/v1/vpns")).json()["items"] == []
    await world.close()


@virtually
async def test_one_key_makes_one_vpn() -> None:
    world, nantes, _ = await three()
    first = await nantes.post("/v1/vpns", BLUE, Idempotency_Key="k-1", **WAIT)
    again = await nantes.post("/v1/vpns", BLUE, Idempotency_Key='"k-1"')
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    is_problem(await nantes.post("/v1/vpns", THREE, Idempotency_Key="k-1"), 422, "invalid")
    is_problem(await nantes.post("/v1/vpns", BLUE, Idempotency_Key="k-2"), 409, "name-taken")
    is_problem(await nantes.post("/v1/vpns", BLUE, Idempotency_Key="k 3"), 422, "invalid")
    # Another project's keys are other keys.
    told = await nantes.post("/v1/vpns", BLUE, Idempotency_Key="k-1", X_Intertie_Project="other")
    is_problem(told, 422, "unknown-network")
    await nantes.call("DELETE", "/v1/vpns/blue?force=true", None, If_Match="*")
    # A delivery that was held up on its way does not raise the dead.
    is_problem(await nantes.post("/v1/vpns", BLUE, Idempotency_Key="k-1"), 412, "stale")
    await world.close()


@virtually
async def test_one_key_twice_at_the_same_moment_makes_one_vpn() -> None:
    world, nantes, _ = await three()
    both = await asyncio.gather(*(nantes.post("/v1/vpns", BLUE, Idempotency_Key="k") for _ in range(5)))
    assert {r.status_code for r in both} == {201}
    assert len({r.json()["id"] for r in both}) == 1
    await world.close()


@virtually
async def test_a_key_outlives_the_agent_and_not_the_day() -> None:
    world, nantes, _ = await three()
    vpn = (await nantes.post("/v1/vpns", BLUE, Idempotency_Key="k")).json()
    await world.crash("nantes")
    nantes = api_of(await world.start("nantes"))
    assert (await nantes.post("/v1/vpns", BLUE, Idempotency_Key="k")).json()["id"] == vpn["id"]
    await nantes.call("DELETE", "/v1/vpns/blue?force=true", None, If_Match="*")
    clock = nantes.site.agent.ports.clock
    assert isinstance(clock, VirtualClock)
    clock.skew = timedelta(hours=25)
    assert (await nantes.post("/v1/vpns", BLUE, Idempotency_Key="l", **WAIT)).status_code == 201
    assert list(nantes.site.agent.local["idempotency"]) == ["demo l"]
    await world.close()


@virtually
async def test_plans_show_and_change_nothing() -> None:
    world, nantes, _ = await three()
    plan = await nantes.post("/v1/vpns?plan=true", BLUE)
    assert plan.status_code == 200
    assert plan.json()["base_version"].startswith("new+")
    assert {c["site"] for c in plan.json()["changes"]} == {"nantes", "lyon"}
    assert (await nantes.get("/v1/vpns")).json()["items"] == []
    is_problem(
        await nantes.post("/v1/vpns?plan=true", wish("b", "l2", "nantes:none", "lyon")), 422, "unknown-network"
    )
    vpn = await made(nantes)
    base = ".".join(str(n) for n in (vpn["epoch"], *vpn["version"]))
    for method, path, body in (
        ("PUT", "/v1/vpns/blue?plan=true", {"attachments": THREE["attachments"]}),
        ("DELETE", "/v1/vpns/blue?plan=true", None),
    ):
        told = await nantes.call(method, path, body, If_Match=f'"{base}"')
        assert told.status_code == 200
        assert told.json()["base_version"].partition("+")[0] == base
        assert any("segment blue" in c["text"] for c in told.json()["changes"])
        is_problem(await nantes.call(method, path, body, If_Match='"0.1.1"'), 412, "stale")
    assert (await nantes.get("/v1/vpns/blue")).headers["etag"] == f'"{base}"'
    await world.close()


@virtually
async def test_a_plan_is_applied_as_it_was_read_or_not_at_all() -> None:
    world, nantes, _ = await three()
    first = (await nantes.post("/v1/vpns?plan=true", BLUE)).json()
    await world.net("nantes", "green", "10.9.0.0/24")
    await made(nantes, wish("other", "l2", "nantes:green", "rennes"))
    # The numbers that it would have had are another's.
    for old in (first["base_version"], "0.1.5", "new"):
        is_problem(await nantes.post("/v1/vpns", BLUE, If_Match=f'"{old}"'), 412, "stale")
    again = (await nantes.post("/v1/vpns?plan=true", BLUE)).json()
    done = await nantes.post("/v1/vpns", BLUE, If_Match=f'"{again["base_version"]}"', **WAIT)
    assert done.status_code == 201
    body = {"attachments": THREE["attachments"]}
    plan = await nantes.call("PUT", "/v1/vpns/blue?plan=true", body, If_Match="*")
    base = f'"{plan.json()["base_version"]}"'
    # Addresses came into use that it would have given away: the version is the same, the plan is not.
    etag = (await nantes.get("/v1/vpns/blue")).headers["etag"]
    assert base.startswith(etag[:-1])
    system, rounds = world.systems["nantes"], world.running["nantes"].rounds
    bridge = next(b for b in system.bridges.values() if b.network is not None and b.network.name == "blue")
    bridge.addresses.add(ip_address("10.0.0.126"))
    seen = rounds.rounds
    await world.until(lambda: rounds.rounds > seen + 1)
    told = is_problem(await nantes.call("PUT", "/v1/vpns/blue", body, If_Match=base), 412, "stale")
    assert "plan" in told["hint"]
    assert (await nantes.get("/v1/vpns/blue")).headers["etag"] == etag
    plan = await nantes.call("PUT", "/v1/vpns/blue?plan=true", body, If_Match="*")
    base = f'"{plan.json()["base_version"]}"'
    assert (await nantes.call("PUT", "/v1/vpns/blue", body, If_Match=base, **WAIT)).status_code == 200
    ended = await nantes.call("DELETE", "/v1/vpns/blue?plan=true", None, If_Match="*")
    base = f'"{ended.json()["base_version"]}"'
    is_problem(await nantes.call("DELETE", "/v1/vpns/blue?force=true", None, If_Match=base), 412, "stale")
    assert (await nantes.call("DELETE", "/v1/vpns/blue", None, If_Match=base, **WAIT)).status_code == 204
    await world.close()


@virtually
async def test_a_change_says_which_version_it_means() -> None:
    world, nantes, _ = await three()
    etag = (await nantes.post("/v1/vpns", BLUE, **WAIT)).headers["etag"]
    body = {"name": "azure", "attachments": THREE["attachments"]}
    for method in ("PUT", "DELETE"):
        told = is_problem(await nantes.call(method, "/v1/vpns/blue", body), 428, "precondition-required")
        assert "ETag" in told["hint"]
        for old in ('"0.0.1"', f"W/{etag}", '""', "0.0.1"):
            is_problem(await nantes.call(method, "/v1/vpns/blue", body, If_Match=old), 412, "stale")
    changed = await nantes.call("PUT", "/v1/vpns/blue", body, If_Match=f'"0.0.1", {etag}', Prefer="wait=10")
    assert changed.status_code == 200
    assert changed.headers["etag"] != etag
    assert (changed.json()["name"], len(changed.json()["members"])) == ("azure", 3)
    assert "pending" not in changed.json()
    is_problem(await nantes.call("PUT", "/v1/vpns/azure", body, If_Match=etag), 412, "stale")
    await world.close()


@virtually
async def test_a_vpn_goes_when_nobody_uses_it() -> None:
    world, nantes, lyon = await three()
    await made(nantes)
    await lyon.post("/v1/hosts", {"name": "h", "network": "blue"})
    told = is_problem(
        await nantes.call("DELETE", "/v1/vpns/blue", None, If_Match="*", Prefer="wait=3"), 409, "in-use"
    )
    assert told["sites"] == ["lyon"]
    at_once = await nantes.call("DELETE", "/v1/vpns/blue", None, If_Match="*")
    assert (at_once.status_code, at_once.json()["phase"]) == (202, "deleting")
    # Found by schemathesis: the document knew only the answer with `pending`.
    told = (await nantes.get("/openapi.json", "")).json()["paths"]["/v1/vpns/{id}"]["delete"]["responses"]["202"]
    assert "VpnView" in str(told["content"])
    assert at_once.headers["etag"]
    assert (await lyon.call("DELETE", "/v1/hosts/h")).status_code == 204
    gone = await nantes.call("DELETE", "/v1/vpns/blue", None, If_Match="*", Prefer="wait=10")
    assert (gone.status_code, gone.content) == (204, b"")
    assert "content-length" not in gone.headers
    assert gone.headers["preference-applied"] == "wait=10"
    is_problem(await nantes.get("/v1/vpns/blue"), 404, "not-found")
    is_problem(await nantes.call("DELETE", "/v1/vpns/blue", None, If_Match="*"), 404, "not-found")
    await world.close()


@virtually
async def test_a_change_asked_for_elsewhere_waits_for_the_home() -> None:
    world, nantes, lyon = await three()
    await made(nantes)
    etag = await same_version(world, nantes, lyon)
    body = {"attachments": THREE["attachments"]}
    asked = await lyon.call("PUT", "/v1/vpns/blue", body, If_Match=etag)
    assert asked.status_code == 202
    assert asked.json()["pending"].keys() == {"proposal", "waiting_for"}
    assert asked.json()["pending"]["waiting_for"] == "nantes"
    assert asked.json().keys() >= VPN
    assert asked.headers["etag"] == etag
    members = ["accepted"] * 3
    await world.until(lambda: [m.answer for m in nantes.site.vpns.get(DEMO, "blue").members] == members)
    etag = await same_version(world, nantes, lyon)
    waited = await lyon.call("PUT", "/v1/vpns/blue", BLUE | {"kind": "l2"}, If_Match=etag, Prefer="wait=10")
    is_problem(waited, 422, "invalid")
    body = {"name": "azure", "attachments": THREE["attachments"]}
    waited = await lyon.call("PUT", "/v1/vpns/blue", body, If_Match=etag, Prefer="wait=10")
    assert waited.status_code == 200, waited.text
    world.isolate("nantes")
    silent = await lyon.call("DELETE", "/v1/vpns/azure", None, If_Match="*", Prefer="wait=3")
    told = is_problem(silent, 503, "owner-silent")
    assert "vpn adopt azure" in told["hint"]
    later = await lyon.call("DELETE", "/v1/vpns/azure", None, If_Match="*")
    assert (later.status_code, later.json()["pending"]["waiting_for"]) == (202, "nantes")
    shown = (await lyon.get("/v1/vpns/azure")).json()["proposals"]
    assert [(p["change"], p["answer"], p["waiting_for"]) for p in shown] == [("delete", "waiting", "nantes")]
    adopted = await lyon.post("/v1/vpns/azure/adopt", If_Match="*")
    assert (adopted.status_code, adopted.json()["owner"], adopted.json()["epoch"]) == (200, "lyon", 1)
    assert adopted.headers["etag"].startswith('"1.')
    await world.close()


@virtually
async def test_verify_sends_packets_and_names_both_ends() -> None:
    world, nantes, lyon = await three()
    await made(nantes)
    for api in (nantes, lyon):
        await api.post("/v1/hosts", {"name": f"h-{api.site.name}", "network": "blue"})
    await world.until(lambda: all(len(world.systems[n].hosts) == 1 for n in ("nantes", "lyon")))
    told = (await nantes.post("/v1/vpns/blue/verify")).json()
    assert told["ok"] is True
    assert told["pairs"][0].keys() >= {"from", "to", "rtt_ms", "mtu", "ok", "broken_at", "hint"}
    ends = {(p["from"]["host"], p["to"]["host"]) for p in told["pairs"]}
    assert ends == {("h-nantes", "h-lyon"), ("h-lyon", "h-nantes")}
    assert told["pairs"][0]["from"].keys() == {"site", "host", "address"}
    await world.close()


@virtually
async def test_lists_come_in_pages_that_neither_skip_nor_repeat() -> None:
    world, nantes, _ = await three()
    for i in range(7):
        await world.net("nantes", f"n{i}", f"10.1.{i}.0/24")
        await made(nantes, wish(f"v{i}", "l2", f"nantes:n{i}", "lyon"))
    seen: list[str] = []
    marker = ""
    while True:
        page = (await nantes.get(f"/v1/vpns?limit=3{marker}")).json()
        seen += [v["name"] for v in page["items"]]
        if len(seen) == 3:
            # What was shown last goes: the marker is a place, not a thing.
            await nantes.call("DELETE", "/v1/vpns/v2?force=true", None, If_Match="*")
        if page["next"] is None:
            break
        marker = f"&marker={page['next']}"
    assert seen == [f"v{i}" for i in range(7)]
    assert [v["name"] for v in (await nantes.get("/v1/vpns?name=v5")).json()["items"]] == ["v5"]
    assert (await nantes.get("/v1/vpns?name=nothing")).json() == {"items": [], "next": None}
    assert len((await nantes.get("/v1/networks?limit=1000")).json()["items"]) == 8
    await world.close()


@virtually
async def test_many_vpns_are_listed_within_a_moment() -> None:
    world, nantes, _ = await three()
    await made(nantes)
    looked: list[str] = []
    before = nantes.site.health.sights_of

    def counted(vpn: Any) -> Any:
        looked.append(vpn.body.name)
        return before(vpn)

    nantes.site.health.sights_of = counted  # type: ignore[method-assign]
    for i in range(5):
        await world.net("nantes", f"n{i}", f"10.1.{i}.0/24")
        await world.vpn("nantes", f"v{i}", "l2", f"nantes:n{i}", "lyon", wait=0)
    looked.clear()
    shown = (await nantes.get("/v1/vpns?limit=2")).json()["items"]
    assert looked[:2] == [each["name"] for each in shown]
    assert len(looked) == 3, "one more says that there is a next page"
    assert len((await nantes.get("/v1/vpns")).json()["items"]) == 6
    await world.close()


@virtually
async def test_a_vpn_is_shown_as_in_the_list() -> None:
    """What is known of it alone is what is known of it among all."""
    world, nantes, _ = await three()
    vpn = await made(nantes)
    await world.until(lambda: world.phase("nantes", vpn["id"]) == "ready")
    health = nantes.site.health
    record = nantes.site.agent.table.get(vpn["id"])
    assert record is not None
    alone, among = health.sights_of(record), health.sights()
    assert set(alone) == {key for key in among if key[0] == vpn["id"]}
    assert {(k, s.health, s.rtt_ms) for k, s in alone.items()} == {
        (k, among[k].health, among[k].rtt_ms) for k in alone
    }
    assert {key[1] for key in alone} == {"nantes", "lyon"}, "what others told is in it"
    await world.close()


# ── Headers ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ([], None),
        (["wait=10"], 10.0),
        (["respond-async, wait=5"], 5.0),
        (["respond-async", "Wait=0.5"], 0.5),
        (['wait="7"; x=1'], 7.0),
        (["wait=1, wait=9"], 1.0),
        (["wait=100000"], 60.0),
        (["wait"], None),
        (["wait=-1"], None),
        (["wait=inf"], None),
        (["wait=1e9"], None),
        (["handling=lenient"], None),
    ],
)
def test_prefer(prefer: list[str], seconds: float | None) -> None:
    assert wait_of(prefer) == seconds


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("*", ("*",)),
        ('"0.1.2"', ("0.1.2",)),
        ('"0.1.2", "0.1.3"', ("0.1.2", "0.1.3")),
        ('W/"0.1.2"', ("W/0.1.2",)),
        ("0.1.2", ("0.1.2",)),
        ("", ()),
    ],
)
def test_if_match(text: str, tags: tuple[str, ...]) -> None:
    assert tags_of(text) == tags


@given(st.lists(st.text(max_size=30), max_size=4), st.text(max_size=60))
def test_no_header_breaks_the_readers(prefer: list[str], match: str) -> None:
    seconds = wait_of(prefer)
    assert seconds is None or 0 <= seconds <= 60
    assert all(isinstance(tag, str) for tag in tags_of(match))


@given(st.sets(st.text(min_size=1, max_size=8).filter(str.isprintable), max_size=30), st.integers(1, 7))
def test_pages_cover_every_item_once_in_order(keys: set[str], limit: int) -> None:
    seen: list[str] = []
    after = ""
    for _ in range(len(keys) + 1):
        page = Window(limit, after).of(keys, lambda k: k)
        assert len(page.items) <= limit
        seen += page.items
        if page.next is None:
            break
        after = key_of(page.next)
    assert seen == sorted(keys)
