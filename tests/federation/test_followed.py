"""A user's request, followed through logs and events of every site that it reached; and peers that say too much."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

from intertie.agent import causes
from intertie.agent.causes import Cause, because
from intertie.agent.complaints import SHARE, TOLD
from intertie.agent.telling import EVENTS
from intertie.model import wire
from intertie.model.codec import decode
from intertie.testing.federation import OPERATOR, Site, World
from tests.unit.api_lab import api_of, virtually, wish

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Recorder:
    """A log that is read by the test: (level, event, facts), with what every line gets."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def _add(self, level: str, event: str, facts: dict[str, Any]) -> None:
        self.lines.append((level, event, {**causes.current().facts(), **facts}))

    def info(self, event: str, **facts: object) -> None:
        self._add("info", event, facts)

    def warning(self, event: str, **facts: object) -> None:
        self._add("warning", event, facts)

    def exception(self, event: str, **facts: object) -> None:
        self._add("error", event, facts)

    def of(self, request: str) -> list[str]:
        return [event for _, event, facts in self.lines if facts.get("request") == request]


def recorded(site: Site) -> Recorder:
    log = Recorder()
    site.agent.ports = replace(site.agent.ports, log=log)
    return log


async def three() -> World:
    world = World()
    for name in ("nantes", "lyon", "rennes"):
        await world.site(name)
    await world.enrol("nantes", "lyon", "rennes")
    await world.net("nantes", "blue", "10.0.0.0/24")
    await asyncio.sleep(90)  # what came before is over
    return world


@virtually
async def test_a_vpn_is_followed_into_every_members_log() -> None:
    world = await three()
    logs = {name: recorded(site) for name, site in world.running.items()}
    api = api_of(world.running["nantes"])
    body = wish("blue", "l2", "nantes:blue", "lyon", "rennes")
    made = await api.post("/v1/vpns", body, X_Request_Id="mine-1", Prefer="wait=10")
    assert made.headers["x-request-id"] == "mine-1"
    await world.until(lambda: all(world.phase(n, "blue") == "ready" for n in logs))
    for name, log in logs.items():
        found = log.of("mine-1")
        # Its record, the answers, and what was built: each a line of its own.
        assert {"vpn", "answer", "change", "health"} <= set(found), name
        assert len([e for e in log.lines if e[1] == "vpn"]) == found.count("vpn")
        events = [e for e in world.running[name].agent.events if e.request == "mine-1"]
        assert {"vpn", "answer", "change"} <= {e.kind for e in events}, name
    networks = [f for _, e, f in logs["lyon"].lines if e == "change" and "network" in f["what"]]
    assert [f["request"] for f in networks] == ["mine-1"]
    await world.close()


@virtually
async def test_two_requests_are_told_apart_though_they_travel_together() -> None:
    world = await three()
    log = recorded(world.running["lyon"])
    await world.net("nantes", "red", "10.1.0.0/24")
    world.cut("nantes", "lyon")
    api = api_of(world.running["nantes"])
    for name in ("blue", "red"):
        body = wish(name, "l2", f"nantes:{name}", "lyon")
        assert (await api.post("/v1/vpns", body, X_Request_Id=f"for-{name}")).status_code == 201
    world.heal()
    await world.until(lambda: all(world.phase("nantes", n) == "ready" for n in ("blue", "red")))
    ids = {n: world.running["lyon"].vpns.get(OPERATOR, n).id for n in ("blue", "red")}
    for name, id in ids.items():
        about = [f for _, e, f in log.lines if e in ("vpn", "change") and id in f"{f['id']}"]
        assert about
        assert {f.get("request") for f in about} == {f"for-{name}"}
    await world.close()


@virtually
async def test_what_happens_later_is_not_laid_at_its_door() -> None:
    world = await three()
    api = api_of(world.running["nantes"])
    await api.post("/v1/vpns", wish("blue", "l2", "nantes:blue", "lyon"), X_Request_Id="mine-1", Prefer="wait=10")
    await world.until(lambda: world.phase("lyon", "blue") == "ready")
    await asyncio.sleep(120)
    log = recorded(world.running["lyon"])
    world.isolate("nantes")
    await asyncio.sleep(30)
    assert any(event == "health" for _, event, _ in log.lines)
    assert log.of("mine-1") == []
    # A member that hears of the record only now still hears why it was written.
    nantes = world.running["nantes"]
    record = nantes.agent.table.get(nantes.vpns.get(OPERATOR, "blue").id)
    assert record is not None
    assert [c.request for c in nantes.agent.causes.told([record])] == ["mine-1"]
    await world.close()


@virtually
async def test_a_join_is_followed_to_the_inviter() -> None:
    world = World()
    for name in ("nantes", "lyon"):
        await world.site(name)
    token, _ = await world.running["nantes"].enrolment.invite("lyon")
    log = recorded(world.running["nantes"])
    await api_of(world.running["lyon"]).post("/v1/peers", {"token": token}, X_Request_Id="join-1")
    assert "peer" in log.of("join-1")
    await world.close()


def test_a_site_of_before_reads_and_is_read() -> None:
    """N−1 knows nothing of `request`, and says nothing of it."""
    message = wire.Message(
        sender="nantes",
        incarnation=1,
        boot="b",
        request="r-1",
        trace=TRACE,
        causes=(wire.ToldCause(record="nantes.x", request="r-1"),),
        at=1.5e9,
    )
    raw = json.loads(wire.encode(message))
    assert (raw["request"], raw["causes"][0]["record"]) == ("r-1", "nantes.x")
    old = {k: v for k, v in raw.items() if k not in ("request", "trace", "causes", "at")}
    read, faults = wire.decode(json.dumps(old).encode(), decode)
    assert (read, faults) == (replace(message, request="", trace="", causes=(), at=0.0), ())
    assert wire.decode(wire.encode(message), decode) == (message, ())


def test_what_is_no_id_names_nobody() -> None:
    bad = wire.Message(sender="lyon", incarnation=1, boot="b", request="a b\nevent=forged", trace="00-zz")
    assert causes.decent(bad) == causes.NONE
    with because(Cause("mine")):
        causes.begin(bad)
        assert causes.current() == causes.NONE


@virtually
async def test_a_peer_names_the_cause_of_its_own_records_alone() -> None:
    world = await three()
    nantes = world.running["nantes"].agent
    own = nantes.table.get("nantes.site")
    assert own is not None
    forged = wire.Message(
        sender="lyon",
        incarnation=1,
        boot="b",
        records=(own,),
        causes=(wire.ToldCause(record=own.id, request="forged"),),
    )
    nantes.causes.heard(forged)
    assert not nantes.causes.lately(own.id)
    await world.close()


@virtually
async def test_a_peer_cannot_fill_the_events_nor_the_log() -> None:
    world = await three()
    nantes, log = world.running["nantes"], recorded(world.running["nantes"])
    bad = b",".join([b"{}"] * 200)
    before = nantes.agent.figures.rejected["lyon"]
    for _ in range(40):
        message = wire.encode(wire.Message(sender="lyon", incarnation=1, boot="b"))
        await nantes.exchange.handle("lyon", message.replace(b'"records":[]', b'"records":[' + bad + b"]"))
    told = [e for e in nantes.agent.events if e.kind == "rejected"]
    assert len(told) == TOLD.burst
    assert len(log.lines) <= TOLD.burst + 5
    assert nantes.agent.figures.rejected["lyon"] - before == 40 * 200
    await asyncio.sleep(600)
    await nantes.exchange.handle("lyon", message.replace(b'"records":[]', b'"records":[{}]'))
    assert "others were not told" in nantes.agent.events[-1].what
    # However many peers are bad, and however long: they get their share, and no more.
    for n in range(100):
        for _ in range(30):
            nantes.agent.complaints.hear(nantes.agent, f"site-{n}", ["no"])
    assert sum(1 for e in nantes.agent.events if e.kind == "rejected") == SHARE < EVENTS / 4
    await world.close()


@virtually
async def test_a_peer_that_is_lost_and_back_is_told_of_once_each() -> None:
    world = await three()
    log = recorded(world.running["nantes"])
    world.cut("nantes", "lyon")
    await asyncio.sleep(120)
    world.heal()
    await asyncio.sleep(60)
    words = [(level, f["what"].partition(":")[0]) for level, e, f in log.lines if e == "peer"]
    assert words == [("warning", "no answer"), ("info", "answers again")]
    await world.close()


@virtually
async def test_a_store_that_cannot_be_written_is_not_ready_until_it_can() -> None:
    world = World()
    site = await world.site("nantes")
    api = api_of(site)
    assert (await api.get("/readyz", "")).status_code == 200
    world.disks["nantes"].failures = 4
    assert (await api.post("/v1/networks", {"name": "n", "prefix": "10.0.0.0/24"})).status_code == 503
    told = await api.get("/readyz", "")
    assert (told.status_code, told.json()["code"]) == (503, "storage")
    assert "disk is full" in told.json()["detail"]
    assert "disk is full" in str((await api.get("/v1/site")).json()["warnings"])
    rounds = site.rounds.rounds
    await asyncio.sleep(12)
    # Rounds go on meanwhile, and each tries the disk again.
    assert site.rounds.rounds > rounds
    assert (await api.get("/readyz", "")).status_code == 503
    await asyncio.sleep(12)
    assert (await api.get("/readyz", "")).status_code == 200
    assert (await api.get("/v1/site")).json()["warnings"] == []
    await world.close()


@virtually
async def test_a_refusal_is_no_failure_of_the_store() -> None:
    world = World()
    api = api_of(await world.site("nantes"))
    body = {"name": "n", "prefix": "10.0.0.0/24"}
    assert [(await api.post("/v1/networks", body)).status_code for _ in range(2)] == [201, 409]
    assert (await api.get("/readyz", "")).status_code == 200
    await world.close()
