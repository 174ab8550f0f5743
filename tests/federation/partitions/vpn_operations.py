"""What users do with Vpns."""

from __future__ import annotations

from typing import Any

import httpx

from tests.federation.partitions.lab import HOME, MEMBER, PEER, Lab
from tests.federation.partitions.operation import Ask, Operation, shows_members, shows_vpn
from tests.federation.partitions.situations import Place
from tests.unit.api_lab import wish

WAIT = 5.0
GROUP = "Vpns"


def _l2(lab: Lab) -> dict[str, Any]:
    return wish("new", "l2", f"{lab.here}:spare", *lab.others())


def _l3(lab: Lab) -> dict[str, Any]:
    return wish("new", "l3", *(f"{s}:db" for s in [lab.here, *lab.others()]))


async def create_l2(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/vpns", _l2(lab))


async def create_l2_waiting(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/vpns", _l2(lab), wait=WAIT)


async def create_l2_any(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/vpns", {**_l2(lab), "require": "any"}, wait=WAIT)


async def create_l3(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/vpns", _l3(lab), wait=WAIT)


async def plan_create(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/vpns?plan=true", _l2(lab))


def made(lab: Lab, sites: list[str]) -> bool:
    """`new` is ready wherever it is seen, and packets cross between all."""
    return all(lab.phase(s, "new") == "ready" for s in sites) and lab.joined("new", list(lab.sites))


def met(lab: Lab, sites: list[str]) -> bool:
    """Packets cross between those that could answer."""
    return lab.joined("new", sites)


async def show(lab: Lab) -> httpx.Response:
    return await lab.ask("GET", "/v1/vpns/stretch")


async def list_all(lab: Lab) -> httpx.Response:
    return await lab.ask("GET", "/v1/vpns")


def changing(*without: str, name: str = "stretch", wait: float = 0.0, plan: bool = False) -> Ask:
    async def ask(lab: Lab) -> httpx.Response:
        body = {"name": name, "attachments": lab.members(*without)}
        return await lab.ask("PUT", f"/v1/vpns/stretch{'?plan=true' if plan else ''}", body, wait=wait)

    return ask


def renamed(lab: Lab, sites: list[str]) -> bool:
    return all(lab.vpn(s, "renamed") is not None for s in sites)


def without_peer(lab: Lab, sites: list[str]) -> bool:
    """lyon is no member, nothing of the Vpn is left there, and the others still exchange packets."""
    rest = [s for s in sites if s != PEER]
    seen = [lab.vpn(s, "stretch") for s in rest]
    remotes = lab.remotes(lab.stretch)
    return (
        all(v is not None and PEER not in {m.site for m in v.members} for v in seen)
        and all(PEER not in names for s in rest for _, names in remotes[s])
        and (PEER not in sites or not remotes[PEER])
    )


async def pair(lab: Lab) -> None:
    """A Vpn of two, to which lyon can be added."""
    await lab.world.net("nantes", "duo", "10.8.0.0/24")
    lab.noted["duo"] = await lab.world.vpn("nantes", "duo", "l2", "nantes:duo", "rennes")
    await lab.world.until(lambda: all(lab.phase(s, "duo") == "ready" for s in (HOME, MEMBER)))


async def add_peer(lab: Lab) -> httpx.Response:
    body = {"name": "duo", "attachments": wish("", "l2", "nantes:duo", "rennes", "lyon")["attachments"]}
    return await lab.ask("PUT", "/v1/vpns/duo", body, wait=WAIT)


def added(lab: Lab, sites: list[str]) -> bool:
    return all(lab.phase(s, "duo") == "ready" for s in sites if s in (HOME, PEER, MEMBER)) and lab.joined(
        "duo", [HOME, PEER, MEMBER]
    )


def ending(force: bool = False, wait: float = 0.0) -> Ask:
    async def ask(lab: Lab) -> httpx.Response:
        return await lab.ask("DELETE", f"/v1/vpns/stretch{'?force=true' if force else ''}", wait=wait)

    return ask


async def plan_end(lab: Lab) -> httpx.Response:
    return await lab.ask("DELETE", "/v1/vpns/stretch?plan=true")


def gone(lab: Lab, sites: list[str]) -> bool:
    """No site shows it, and no data plane holds anything of it."""
    remotes = lab.remotes(lab.stretch)
    return all(lab.vpn(s, "stretch") is None and not remotes[s] for s in sites)


async def adopt(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/vpns/stretch/adopt")


async def adopt_anyway(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/vpns/stretch/adopt?force=true")


def adopted(lab: Lab, sites: list[str]) -> bool:
    found = [lab.vpn(s, "stretch") for s in sites]
    return all(v is not None and v.owner == MEMBER for v in found)


async def verify(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/vpns/stretch/verify")


def shows_verified(body: Any) -> str:
    """Which pairs were proved, which were not and where they broke."""
    good = sorted({f"{p['from']['site']}→{p['to']['site']}" for p in body["pairs"] if p["ok"]})
    bad = sorted(
        {
            f"{p['from']['site']}→{p['to']['site'] or '?'} broken at {p['broken_at']}: {p['hint']}"
            for p in body["pairs"]
            if not p["ok"]
        }
    )
    return f"ok {str(body['ok']).lower()}; " + "; ".join(
        [", ".join(good) + " cross" if good else "none crosses", *bad]
    )


def shows_plan(body: Any) -> str:
    return "; ".join(f"{c['op']} {c['what']} at {c['site']}" for c in body["changes"]) or "no change"


def shows_list(body: Any) -> str:
    return ", ".join(f"{v['name']} {v['phase']}" for v in body["items"]) or "none"


def shows_owner(body: Any) -> str:
    return f"owner {body['owner']}, {shows_vpn(body)}"


async def site_plan(lab: Lab) -> httpx.Response:
    return await lab.ask("GET", "/v1/plan")


def shows_site_plan(body: Any) -> str:
    orphans = sorted(f"{o['what']}" for o in body["orphans"])
    return shows_plan(body) + (f"; orphans, kept: {', '.join(orphans)}" if orphans else "")


HOME_ONLY, ELSEWHERE = Place.HOME, Place.MEMBER

OPERATIONS = (
    Operation(id="vpn-list", group=GROUP, words="vpn list", ask=list_all, shows=shows_list),
    Operation(id="vpn-show", group=GROUP, words="vpn show", ask=show, shows=shows_members),
    Operation(id="vpn-create-plan", group=GROUP, words="vpn create --plan", ask=plan_create, shows=shows_plan),
    Operation(
        id="vpn-create-l2",
        group=GROUP,
        words="vpn create --kind l2",
        ask=create_l2,
        goal=made,
        meanwhile=met,
        shows=shows_vpn,
    ),
    Operation(
        id="vpn-create-l2-wait",
        group=GROUP,
        words="vpn create --kind l2 --wait 5",
        ask=create_l2_waiting,
        goal=made,
        meanwhile=met,
        shows=shows_vpn,
    ),
    Operation(
        id="vpn-create-any",
        group=GROUP,
        words="vpn create --kind l2 --require any --wait 5",
        ask=create_l2_any,
        goal=made,
        meanwhile=met,
        shows=shows_vpn,
    ),
    Operation(
        id="vpn-create-l3-wait",
        group=GROUP,
        words="vpn create --kind l3 --wait 5",
        ask=create_l3,
        goal=made,
        meanwhile=met,
        shows=shows_vpn,
    ),
    Operation(
        id="vpn-update-plan",
        group=GROUP,
        words="vpn update --plan",
        at=HOME_ONLY,
        ask=changing(PEER, plan=True),
        shows=shows_plan,
    ),
    Operation(
        id="vpn-update",
        group=GROUP,
        words="vpn update --name, at the home",
        at=HOME_ONLY,
        ask=changing(name="renamed", wait=WAIT),
        goal=renamed,
        shows=shows_vpn,
    ),
    Operation(
        id="vpn-update-add",
        group=GROUP,
        words="vpn update, adding lyon, at the home",
        at=HOME_ONLY,
        ask=add_peer,
        goal=added,
        shows=shows_vpn,
        prepare=pair,
    ),
    Operation(
        id="vpn-update-remove",
        group=GROUP,
        words="vpn update, removing lyon, at the home",
        at=HOME_ONLY,
        ask=changing(PEER, wait=WAIT),
        goal=without_peer,
        shows=shows_vpn,
        ends=True,
    ),
    Operation(
        id="vpn-propose",
        group=GROUP,
        words="vpn update, at another member",
        at=ELSEWHERE,
        ask=changing(name="renamed"),
        goal=renamed,
        shows=shows_vpn,
    ),
    Operation(
        id="vpn-propose-wait",
        group=GROUP,
        words="vpn update --wait 5, at another member",
        at=ELSEWHERE,
        ask=changing(name="renamed", wait=WAIT),
        goal=renamed,
        shows=shows_vpn,
    ),
    Operation(id="vpn-delete-plan", group=GROUP, words="vpn delete --plan", ask=plan_end, shows=shows_plan),
    Operation(
        id="vpn-delete",
        group=GROUP,
        words="vpn delete, at the home",
        at=HOME_ONLY,
        ask=ending(),
        goal=gone,
        shows=shows_vpn,
        ends=True,
    ),
    Operation(
        id="vpn-delete-wait",
        group=GROUP,
        words="vpn delete --wait 5, at the home",
        at=HOME_ONLY,
        ask=ending(wait=WAIT),
        goal=gone,
        shows=shows_vpn,
        ends=True,
    ),
    Operation(
        id="vpn-delete-force",
        group=GROUP,
        words="vpn delete --force --wait 5, at the home",
        at=HOME_ONLY,
        ask=ending(force=True, wait=WAIT),
        goal=gone,
        shows=shows_vpn,
        ends=True,
    ),
    Operation(
        id="vpn-delete-elsewhere",
        group=GROUP,
        words="vpn delete --wait 5, at another member",
        at=ELSEWHERE,
        ask=ending(wait=WAIT),
        goal=gone,
        shows=shows_vpn,
        ends=True,
    ),
    Operation(
        id="vpn-delete-force-elsewhere",
        group=GROUP,
        words="vpn delete --force --wait 5, at another member",
        at=ELSEWHERE,
        ask=ending(force=True, wait=WAIT),
        goal=gone,
        shows=shows_vpn,
        ends=True,
    ),
    Operation(
        id="vpn-adopt",
        group=GROUP,
        words="vpn adopt",
        at=ELSEWHERE,
        ask=adopt,
        goal=adopted,
        shows=shows_owner,
    ),
    Operation(
        id="vpn-adopt-force",
        group=GROUP,
        words="vpn adopt --force",
        at=ELSEWHERE,
        ask=adopt_anyway,
        goal=adopted,
        shows=shows_owner,
    ),
    Operation(id="vpn-verify", group=GROUP, words="vpn verify", ask=verify, shows=shows_verified),
    Operation(id="vpn-plan", group=GROUP, words="vpn plan, status", ask=site_plan, shows=shows_site_plan),
)
