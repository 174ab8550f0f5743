"""What a single cell of docs/partitions.md does not show: one thing after another, and from more than one side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from intertie.testing.virtual_time import run
from tests.federation.partitions.lab import FIVE, HOME, MEMBER, PEER, THREE, Lab, scene
from tests.federation.partitions.situations import ENDLESS, SKEW
from tests.federation.partitions.vpn_operations import pair
from tests.unit.api_lab import wish

Story = Callable[[Lab], Awaitable[None]]


def tell(story: Story, here: str = HOME, sites: tuple[str, ...] = THREE, prepare: Story | None = None) -> None:
    async def main() -> None:
        async with scene(here, sites, *([prepare] if prepare is not None else [])) as lab:
            await story(lab)

    run(main())


async def create(lab: Lab, *members: str, name: str = "new", wait: float = 5.0) -> tuple[int, Any]:
    response = await lab.ask("POST", "/v1/vpns", wish(name, "l2", f"{lab.here}:spare", *members), wait=wait)
    return response.status_code, response.json()


async def restored(lab: Lab, reachable: bool = True, lost: bool = False) -> None:
    """The user's site starts from an older copy of its store, or from none."""
    await lab.world.crash(lab.here)
    if lost:
        lab.world.disks[lab.here].lose()
    else:
        lab.world.disks[lab.here].put_back(lab.backup)
    if not reachable:
        lab.world.isolate(lab.here)
    await lab.world.start(lab.here)


async def recovering(lab: Lab) -> bool:
    return bool((await lab.ask("GET", "/v1/site")).json()["recovering"])


def test_a_member_with_a_full_disk_counts_as_silent_and_joins_when_there_is_space() -> None:
    async def story(lab: Lab) -> None:
        lab.world.disks[PEER].failures = ENDLESS
        status, body = await create(lab, PEER, MEMBER)
        assert (status, body["phase"], body["reason"]) == (201, "waiting", "no answer yet from lyon")
        await asyncio.sleep(60)
        assert lab.joined("new", [HOME, MEMBER])
        lab.world.disks[PEER].failures = 0
        await lab.world.until(lambda: lab.phase(HOME, "new") == "ready")
        assert lab.joined("new", list(THREE))

    tell(story)


def test_a_restored_site_that_reaches_its_peers_is_itself_again_at_once() -> None:
    async def story(lab: Lab) -> None:
        before, writes = lab.picture(), lab.world.underlay.writes
        await restored(lab)
        await asyncio.sleep(5)
        assert not await recovering(lab)
        await lab.world.until(lab.is_ready)
        assert (lab.picture(), lab.world.underlay.writes) == (before, writes)
        status, _ = await create(lab, PEER, MEMBER)
        assert status == 201
        await lab.world.until(lambda: lab.phase(HOME, "new") == "ready")

    tell(story)


def test_a_site_with_an_empty_store_that_reaches_its_peers_has_its_vpns_again_at_once() -> None:
    async def story(lab: Lab) -> None:
        before, writes = lab.picture(), lab.world.underlay.writes
        await restored(lab, lost=True)
        await asyncio.sleep(5)
        assert not await recovering(lab)
        await lab.world.until(lab.is_ready)
        assert (lab.picture(), lab.world.underlay.writes) == (before, writes)
        plan = (await lab.ask("GET", "/v1/plan")).json()
        assert plan["changes"] == []
        # Its own networks and hosts were nobody else's to give back: orphans, kept.
        assert sorted(o["what"] for o in plan["orphans"]) == ["host", "host", "network", "network"]

    tell(story, here=MEMBER)


def test_a_restart_does_not_end_a_recovery() -> None:
    async def story(lab: Lab) -> None:
        await restored(lab, reachable=False)
        await lab.world.crash(HOME)
        await lab.world.start(HOME)
        assert await recovering(lab)
        status, problem = await create(lab, PEER, MEMBER)
        assert (status, problem["code"]) == (503, "storage")
        lab.world.heal()
        await lab.world.until(lambda: lab.is_ready())
        assert not await recovering(lab)
        await lab.world.crash(HOME)
        await lab.world.start(HOME)
        assert not await recovering(lab), "and once it is over, it is over"

    tell(story)


def test_who_is_gone_for_good_is_waited_for_until_it_is_forgotten() -> None:
    async def story(lab: Lab) -> None:
        await lab.world.crash(PEER)
        await restored(lab)
        await asyncio.sleep(60)
        status, problem = await create(lab, MEMBER)
        assert (status, problem["code"]) == (503, "storage")
        assert (
            problem["detail"] == "nantes lost its store and waits for lyon to give back what they hold of its records"
        )
        assert (await lab.ask("DELETE", f"/v1/peers/{PEER}")).status_code == 204
        assert not await recovering(lab)
        status, _ = await create(lab, MEMBER)
        assert status == 201
        await lab.world.until(lambda: lab.phase(HOME, "new") == "ready")

    tell(story)


def test_a_restored_home_ends_nothing_behind_the_back_of_a_member_that_it_does_not_remember() -> None:
    async def story(lab: Lab) -> None:
        # Since the backup lyon was added: the home, as it was then, would not tell it of the end.
        lab.backup = lab.world.disks[HOME].backup()
        added = {"name": "duo", "attachments": wish("", "l2", "nantes:duo", MEMBER, PEER)["attachments"]}
        assert (await lab.ask("PUT", "/v1/vpns/duo", added, wait=5.0)).status_code == 200
        await lab.world.until(lambda: lab.phase(PEER, "duo") == "ready")
        await restored(lab, reachable=False)
        refused = await lab.ask("DELETE", "/v1/vpns/duo?force=true", wait=5.0)
        assert (refused.status_code, refused.json()["code"]) == (503, "storage")
        lab.world.heal()
        await lab.world.until(lambda: lab.phase(HOME, "duo") == "ready")
        assert lab.joined("duo", list(THREE))
        assert (await lab.ask("DELETE", "/v1/vpns/duo", wait=5.0)).status_code == 204
        await lab.world.until(lambda: not any(lab.remotes(lab.noted["duo"]).values()))

    tell(story, prepare=pair)


def test_a_site_without_its_past_gives_no_host_an_address_that_may_be_anothers() -> None:
    async def story(lab: Lab) -> None:
        before = lab.picture()
        await restored(lab, reachable=False, lost=True)
        wanted = {"name": "mail", "network": "blue"}
        refused = await lab.ask("POST", "/v1/hosts", wanted)
        assert (refused.status_code, refused.json()["code"]) == (503, "storage")
        await asyncio.sleep(60)
        assert lab.picture() == before
        lab.world.heal()
        await lab.world.until(lab.is_ready)
        made = await lab.ask("POST", "/v1/hosts", wanted)
        assert (made.status_code, made.json()["address"]) == (201, "10.0.0.172"), "from its own part again"

    tell(story, here=MEMBER)


def test_an_invitation_made_while_alone_serves_afterwards() -> None:
    async def story(lab: Lab) -> None:
        metz = await lab.world.site("metz")
        lab.world.isolate(HOME)
        token = (await lab.ask("POST", "/v1/invitations", {"name": "metz"})).json()["token"]
        await asyncio.sleep(600)
        lab.world.heal()
        await metz.enrolment.join(token)
        await lab.world.until(lambda: {p.name: p.state for p in lab.site.enrolment.peers()}.get("metz") == "up")

    tell(story)


def test_a_change_that_nobody_waits_for_dies_after_ten_minutes() -> None:
    async def story(lab: Lab) -> None:
        await lab.world.crash(HOME)
        asked = await lab.ask("PUT", "/v1/vpns/stretch", {"name": "renamed", "attachments": lab.members()})
        assert (asked.status_code, asked.json()["pending"]["waiting_for"]) == (202, HOME)
        await asyncio.sleep(11 * 60)
        await lab.world.start(HOME)
        await asyncio.sleep(120)
        assert [lab.vpn(s, "renamed") for s in THREE] == [None, None, None]

    tell(story, here=MEMBER)


def test_a_home_that_is_lost_for_good_is_replaced() -> None:
    async def story(lab: Lab) -> None:
        await lab.world.crash(HOME)
        await asyncio.sleep(60)
        assert (await lab.ask("POST", "/v1/vpns/stretch/adopt")).status_code == 200
        for name in (MEMBER, PEER):
            assert (await lab.api(name).call("DELETE", f"/v1/peers/{HOME}")).status_code == 204
        rest = {"name": "stretch", "attachments": [{"site": PEER}, {"site": MEMBER}]}
        assert (await lab.ask("PUT", "/v1/vpns/stretch", rest, wait=5.0)).status_code == 200
        await lab.world.until(lambda: all(lab.phase(s, "stretch") == "ready" for s in (PEER, MEMBER)))
        assert lab.joined("stretch", [PEER, MEMBER])
        assert not lab.world.underlay.crosses(lab.stretch, HOME, MEMBER), "nothing enters from whom was forgotten"

    tell(story, here=MEMBER)


def test_a_member_that_never_returns_is_out_once_it_is_forgotten() -> None:
    async def story(lab: Lab) -> None:
        await lab.world.crash(PEER)
        await asyncio.sleep(60)
        rest = {"name": "stretch", "attachments": lab.members(PEER)}
        assert (await lab.ask("PUT", "/v1/vpns/stretch", rest, wait=5.0)).status_code == 200
        await asyncio.sleep(60)
        assert {m.site for m in lab.vpn(HOME, "stretch").members} == set(THREE), "it is waited for"
        for name in (HOME, MEMBER):
            assert (await lab.api(name).call("DELETE", f"/v1/peers/{PEER}")).status_code == 204
        await lab.world.until(lambda: lab.phase(HOME, "stretch") == "ready")
        assert {m.site for m in lab.vpn(HOME, "stretch").members} == {HOME, MEMBER}
        assert lab.joined("stretch", [HOME, MEMBER])
        # The same with the end of a Vpn.
        assert (await lab.ask("DELETE", "/v1/vpns/stretch", wait=5.0)).status_code == 204

    tell(story)


def test_both_halves_of_a_federation_go_on_and_come_together_without_a_clash() -> None:
    async def story(lab: Lab) -> None:
        far = ("lyon", "quimper")
        for a in far:
            for b in FIVE:
                if b not in far:
                    lab.world.cut(a, b)
        await asyncio.sleep(60)
        status, _ = await create(lab, MEMBER, "brest", name="here")
        assert status == 201
        await lab.world.net("lyon", "other", "10.9.0.0/24")
        there = wish("there", "l2", "lyon:other", "quimper")
        made = await lab.api("lyon").call("POST", "/v1/vpns", there, Prefer="wait=5")
        assert made.status_code == 201
        await lab.world.until(lambda: lab.phase(HOME, "here") == lab.phase("lyon", "there") == "ready")
        lab.world.heal()
        await lab.world.until(lab.is_ready)
        vpns = {name: lab.vpn(site, name) for site, name in ((HOME, "here"), ("lyon", "there"))}
        assert {v.phase.value for v in vpns.values()} == {"ready"}
        assert vpns["here"].vni != vpns["there"].vni

    tell(story, sites=FIVE)


def test_a_clock_that_is_set_back_does_not_keep_what_is_lost_ready() -> None:
    async def story(lab: Lab) -> None:
        await lab.world.crash(PEER)
        lab.world.skews[HOME] = -SKEW
        await asyncio.sleep(60)
        shown = (await lab.ask("GET", "/v1/vpns/stretch")).json()
        assert shown["phase"] == "degraded"
        lost = {f"{p['from']}–{p['to']}" for p in shown["pairs"] if p["health"] != "ready"}
        assert lost == {"nantes–lyon", "lyon–rennes"}
        peers = {p["name"]: p["state"] for p in (await lab.ask("GET", "/v1/peers")).json()["items"]}
        assert peers == {"lyon": "silent", "rennes": "up"}

    tell(story)


def test_a_clock_that_is_set_back_does_not_hide_that_a_path_is_lost() -> None:
    async def story(lab: Lab) -> None:
        lab.world.underlay.cut(HOME, PEER)  # packets only: the agents still hear each other
        lab.world.skews[HOME] = -SKEW
        await asyncio.sleep(60)
        shown = (await lab.ask("GET", "/v1/vpns/stretch")).json()
        lost = {f"{p['from']}–{p['to']}" for p in shown["pairs"] if p["health"] != "ready"}
        assert (shown["phase"], lost) == ("degraded", {"nantes–lyon"})
        lab.world.heal()
        await lab.world.until(lab.is_ready)

    tell(story)


def test_a_clock_that_is_set_back_does_not_keep_a_segment_blocked() -> None:
    def blocked(lab: Lab) -> bool:
        return any(s.blocked for s in lab.world.underlay.segments[HOME].values())

    async def story(lab: Lab) -> None:
        lab.site.agent.loop_seen(lab.stretch)
        await lab.world.until(lambda: blocked(lab))
        lab.world.skews[HOME] = -SKEW
        await lab.world.until(lambda: not blocked(lab), 60)
        await lab.world.until(lab.is_ready)

    tell(story)


def test_a_home_whose_clock_is_fast_says_that_a_clock_is_wrong() -> None:
    async def story(lab: Lab) -> None:
        lab.world.skews[HOME] = SKEW
        wanted = {"name": "renamed", "attachments": lab.members()}
        refused = await lab.ask("PUT", "/v1/vpns/stretch", wanted, wait=5.0)
        assert (refused.status_code, refused.json()["code"]) == (412, "stale")
        assert "the clock of rennes or of nantes is wrong" in refused.json()["hint"]
        lab.world.skews[HOME] = timedelta()
        assert (await lab.ask("PUT", "/v1/vpns/stretch", wanted, wait=5.0)).status_code == 200

    tell(story, here=MEMBER)


def test_a_clock_that_is_put_right_again_undoes_nothing() -> None:
    async def story(lab: Lab) -> None:
        before = lab.picture()
        for skew in (SKEW, timedelta(), -SKEW, timedelta()):
            lab.world.skews[HOME] = skew
            await asyncio.sleep(60)
            assert lab.is_ready()
        assert lab.picture() == before

    tell(story)
