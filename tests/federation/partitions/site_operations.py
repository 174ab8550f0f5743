"""What operators do with sites, networks, hosts and tokens, and what machines ask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx

from intertie.testing.federation import OPERATOR
from tests.federation.partitions.lab import PEER, Lab
from tests.federation.partitions.operation import (
    Ask,
    Operation,
    shows_names,
    shows_peers,
    shows_text,
)

LOCAL = "Networks and hosts"
SITES = "Sites"
TOKENS = "Tokens"
MACHINE = "Health"
STRANGER = "metz"


def getting(path: str) -> Ask:
    async def ask(lab: Lab) -> httpx.Response:
        return await lab.ask("GET", path)

    return ask


def deleting(path: str) -> Ask:
    async def ask(lab: Lab) -> httpx.Response:
        return await lab.ask("DELETE", path)

    return ask


# ── Networks and hosts ─────────────────────────────────────────────────────────────────────────────────────


async def create_network(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/networks", {"name": "fresh", "prefix": "10.7.0.0/24"})


def shows_network(body: Any) -> str:
    return "attachable" if body["attachable"] else f"not attachable: {body['reason']}"


def _networks(lab: Lab) -> list[str]:
    found: list[str] = lab.picture()[lab.here]["networks"]
    return found


def network_made(lab: Lab, sites: list[str]) -> bool:
    return "fresh" in _networks(lab)


async def idle_network(lab: Lab) -> None:
    await lab.world.net(lab.here, "idle", "10.6.0.0/24")
    await lab.world.until(lambda: "idle" in _networks(lab))


def network_gone(lab: Lab, sites: list[str]) -> bool:
    return "idle" not in _networks(lab)


async def create_host(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/hosts", {"name": "mail", "network": "blue"})


def shows_host(body: Any) -> str:
    return str(body["address"])


def host_made(lab: Lab, sites: list[str]) -> bool:
    return any(h.name == "mail" for h in lab.world.systems[lab.here].hosts.values())


def host_gone(lab: Lab, sites: list[str]) -> bool:
    return all(h.name != "web" for h in lab.world.systems[lab.here].hosts.values())


async def collect_plan(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/gc?plan=true")


def shows_orphans(body: Any) -> str:
    told = [f"would go: {', '.join(sorted(c['what'] for c in body['changes']))}"] if body["changes"] else []
    told += [f"kept: {', '.join(sorted(c['what'] for c in body['kept']))}"] if body["kept"] else []
    return "; ".join(told) or "none"


# ── Sites ──────────────────────────────────────────────────────────────────────────────────────────────────


async def invite(lab: Lab) -> httpx.Response:
    response = await lab.ask("POST", "/v1/invitations", {"name": STRANGER})
    lab.noted["invitation"] = response.json().get("token", "")
    return response


def invited(lab: Lab, sites: list[str]) -> bool:
    """There is a token. That it serves: test_stories.py."""
    return bool(lab.noted["invitation"])


def shows_invitation(body: Any) -> str:
    return "a token" if body["token"] else ""


async def stranger(lab: Lab) -> None:
    """A site that nobody knows has made an invitation for this one."""
    metz = await lab.world.site(STRANGER)
    lab.noted["invitation"], _ = await metz.enrolment.invite(lab.here)


async def join(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/peers", {"token": lab.noted["invitation"]})


def shows_peer(body: Any) -> str:
    return f"{body['name']} {body['state']}"


def in_touch(lab: Lab, sites: list[str]) -> bool:
    """The two sites hear each other."""
    if STRANGER not in lab.world.running:
        return False
    theirs = {p.name: p.state for p in lab.world.running[STRANGER].enrolment.peers()}
    mine = {p.name: p.state for p in lab.site.enrolment.peers()}
    return theirs.get(lab.here) == "up" and mine.get(STRANGER) == "up"


async def introduced(lab: Lab) -> None:
    """lyon has let a site in, and vouches for it; this site's operator is to be asked."""
    asks = replace(lab.site.agent.settings, introductions="ask")
    lab.site.agent.settings = lab.world.settings[lab.here] = asks
    metz = await lab.world.site(STRANGER)
    token, _ = await lab.world.running[PEER].enrolment.invite(STRANGER)
    await metz.enrolment.join(token)
    await lab.world.until(lambda: any(p.name == STRANGER for p in lab.site.enrolment.peers()))


async def approve(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", f"/v1/peers/{STRANGER}/approve")


async def map_project(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", f"/v1/peers/{PEER}/mappings", {"theirs": "guests", "ours": "demo"})


def shows_mapping(body: Any) -> str:
    return f"{body['theirs']} of {body['peer']} acts as {body['ours']}"


def shows_mappings(body: Any) -> str:
    return "; ".join(shows_mapping(each) for each in body["items"]) or "none"


def mapped(lab: Lab, sites: list[str]) -> bool:
    return any(m.theirs == "guests" for m in lab.site.enrolment.mappings(PEER))


def forgotten(lab: Lab, sites: list[str]) -> bool:
    """Nothing from it comes in, and nothing goes to it."""
    state = {p.name: p.state for p in lab.site.enrolment.peers()}[PEER]
    crosses = lab.world.underlay.crosses
    return (
        state == "forgotten" and not crosses(lab.stretch, PEER, lab.here) and not crosses(lab.stretch, lab.here, PEER)
    )


async def leave(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/site/leave")


async def unbound(lab: Lab) -> None:
    """No Vpn binds the site."""
    home = lab.world.running["nantes"].vpns
    await home.delete(OPERATOR, lab.stretch, force=True, wait=5.0)
    await lab.world.until(lambda: not any(lab.remotes(lab.stretch).values()))


def left(lab: Lab, sites: list[str]) -> bool:
    return all(p.state == "forgotten" for p in lab.site.enrolment.peers())


def shows_site(body: Any) -> str:
    recovering = ", recovering" if body["recovering"] else ""
    ok = ", ".join(f"{t} {'ok' if f['ok'] else f['reason']}" for t, f in body["transports"].items())
    return f"{body['name']}{recovering}; {ok}"


# ── Tokens ─────────────────────────────────────────────────────────────────────────────────────────────────


async def create_token(lab: Lab) -> httpx.Response:
    return await lab.ask("POST", "/v1/tokens", {"project": "demo", "role": "reader"})


def shows_token(body: Any) -> str:
    return f"a token, {body['role']} in {body['project']}" if body["token"] else ""


async def token(lab: Lab) -> None:
    made = await lab.site.tokens.create("demo", "reader")
    lab.noted["token"], lab.noted["token-id"] = made.token, made.id


async def revoke_token(lab: Lab) -> httpx.Response:
    return await lab.ask("DELETE", f"/v1/tokens/{lab.noted['token-id']}")


def revoked(lab: Lab, sites: list[str]) -> bool:
    return all(t.id != lab.noted["token-id"] for t in lab.site.tokens.all())


def token_made(lab: Lab, sites: list[str]) -> bool:
    return len(lab.site.tokens.all()) == 1


async def use_token(lab: Lab) -> httpx.Response:
    return await lab.ask("GET", "/v1/networks", token=lab.noted["token"])


def shows_roles(body: Any) -> str:
    return ", ".join(f"{t['role']} in {t['project']}" for t in body["items"]) or "none"


async def ready(lab: Lab) -> httpx.Response:
    return await lab.ask("GET", "/readyz")


async def alive(lab: Lab) -> httpx.Response:
    return await lab.ask("GET", "/livez")


def shows_metrics(body: str) -> str:
    """Only the names that a watch would be set on."""
    return "all series" if "intertie_" in body else ""


def shows_parts(body: Any) -> str:
    """None of them is the word that it could not be had."""
    return (
        "all parts"
        if body["files"] and not any(text.startswith('{\n "problem"') for text in body["files"].values())
        else ""
    )


OPERATIONS = (
    Operation(id="network-list", group=LOCAL, words="network list", ask=getting("/v1/networks"), shows=shows_names),
    Operation(
        id="network-create",
        group=LOCAL,
        words="network create",
        ask=create_network,
        goal=network_made,
        shows=shows_network,
    ),
    Operation(
        id="network-delete",
        group=LOCAL,
        words="network delete",
        ask=deleting("/v1/networks/idle"),
        goal=network_gone,
        prepare=idle_network,
    ),
    Operation(id="gc-plan", group=LOCAL, words="gc --plan", ask=collect_plan, shows=shows_orphans),
    Operation(id="host-list", group=LOCAL, words="host list", ask=getting("/v1/hosts"), shows=shows_names),
    Operation(
        id="host-create",
        group=LOCAL,
        words="host create, on the stretched network",
        ask=create_host,
        goal=host_made,
        shows=shows_host,
    ),
    Operation(id="host-delete", group=LOCAL, words="host delete", ask=deleting("/v1/hosts/web"), goal=host_gone),
    Operation(id="site-list", group=SITES, words="site list", ask=getting("/v1/peers"), shows=shows_peers),
    Operation(id="site-show", group=SITES, words="site show", ask=getting("/v1/site"), shows=shows_site),
    Operation(
        id="site-invite",
        group=SITES,
        words="site invite",
        ask=invite,
        goal=invited,
        shows=shows_invitation,
    ),
    Operation(
        id="site-join",
        group=SITES,
        words="site join",
        ask=join,
        goal=in_touch,
        shows=shows_peer,
        prepare=stranger,
        peer=STRANGER,
    ),
    Operation(
        id="site-approve",
        group=SITES,
        words="site approve",
        ask=approve,
        goal=in_touch,
        shows=shows_peer,
        prepare=introduced,
        peer=STRANGER,
    ),
    Operation(id="site-map", group=SITES, words="site map", ask=map_project, goal=mapped, shows=shows_mapping),
    Operation(
        id="site-mappings", group=SITES, words="site mappings", ask=getting("/v1/mappings"), shows=shows_mappings
    ),
    Operation(
        id="site-forget",
        group=SITES,
        words="site forget",
        ask=deleting(f"/v1/peers/{PEER}"),
        goal=forgotten,
        ends=True,
    ),
    Operation(id="site-leave", group=SITES, words="site leave", ask=leave, goal=left, prepare=unbound, ends=True),
    Operation(
        id="site-leave-bound", group=SITES, words="site leave, while a Vpn binds it", ask=leave, goal=left, ends=True
    ),
    Operation(
        id="token-create", group=TOKENS, words="token create", ask=create_token, goal=token_made, shows=shows_token
    ),
    Operation(
        id="token-list", group=TOKENS, words="token list", ask=getting("/v1/tokens"), shows=shows_roles, prepare=token
    ),
    Operation(
        id="token-use", group=TOKENS, words="a call with a token", ask=use_token, shows=shows_names, prepare=token
    ),
    Operation(id="token-revoke", group=TOKENS, words="token revoke", ask=revoke_token, goal=revoked, prepare=token),
    Operation(id="livez", group=MACHINE, words="GET /livez", ask=alive, shows=shows_text),
    Operation(id="readyz", group=MACHINE, words="GET /readyz", ask=ready, shows=shows_text),
    Operation(id="metrics", group=MACHINE, words="GET /metrics", ask=getting("/metrics"), shows=shows_metrics),
    Operation(id="bundle", group=MACHINE, words="bundle", ask=getting("/v1/bundle"), shows=shows_parts),
)
