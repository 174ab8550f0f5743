"""/v1/bundle: all that somebody needs who is to find out from afar what is wrong at this site, and no secret.

Tokens, invitations and keys are not looked at; what is looked at goes through `scrub` as well, since words of others
(errors, lines of the log, settings) may hold anything.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from fastapi import APIRouter, Request
from prometheus_client.exposition import generate_latest

from intertie.agent import upkeep
from intertie.agent.access import Caller
from intertie.api import scrub
from intertie.api.auth import Admin
from intertie.api.openapi import problems
from intertie.api.plan import shown_plan
from intertie.api.services import Services, Uses
from intertie.api.sites import site_view
from intertie.model.codec import dumps
from intertie.model.errors import IntertieError
from intertie.model.records import Kind
from intertie.model.views import BundleView

router = APIRouter(prefix="/bundle", tags=["site"])

Part = Callable[[Services, Caller], Awaitable[object]]


async def _site(use: Services, who: Caller) -> object:
    return {"site": site_view(use.agent), "warnings": upkeep.warnings(use.agent, use.surroundings)}


async def _peers(use: Services, who: Caller) -> object:
    skew = {name: round(seconds, 3) for name, seconds in use.agent.figures.skew.items()}
    return {"peers": use.enrolment.peers(), "mappings": use.enrolment.mappings(), "clock_skew_seconds": skew}


async def _networks(use: Services, who: Caller) -> object:
    return {"networks": use.networks.all(who), "hosts": use.networks.hosts(who), "failures": use.agent.failures}


async def _vpns(use: Services, who: Caller) -> object:
    return use.vpns.all(who)


async def _plan(use: Services, who: Caller) -> object:
    return await shown_plan(use, who)


async def _events(use: Services, who: Caller) -> object:
    return use.agent.events


async def _records(use: Services, who: Caller) -> object:
    """As signed: header and body. Signatures are left out."""
    return [json.loads(record.raw) for kind in Kind for record in use.agent.table.all_of(kind)]


async def _store(use: Services, who: Caller) -> object:
    agent = use.agent
    return {
        "facts": use.surroundings.store(),
        "problem": agent.figures.store_problem,
        "incarnation": agent.incarnation,
        "seq": agent.table.last().seq,
        "recovering": agent.recovering,
        "cursors": {peer: str(place) for peer, place in agent.cursors.items()},
        "acked": {peer: str(place) for peer, place in agent.acked.items()},
        # How many, and nothing of them: hashes of tokens and of invitations are among them.
        "local": [{"space": space, "entries": len(entries)} for space, entries in sorted(agent.local.items())],
    }


async def _settings(use: Services, who: Caller) -> object:
    return use.surroundings.settings()


async def _machine(use: Services, who: Caller) -> object:
    return await use.surroundings.machine()


PARTS: Mapping[str, Part] = {
    "site.json": _site,
    "peers.json": _peers,
    "networks.json": _networks,
    "vpns.json": _vpns,
    "plan.json": _plan,
    "events.json": _events,
    "records.json": _records,
    "store.json": _store,
    "settings.json": _settings,
    "machine.json": _machine,
}


@router.get("", summary="Make a support bundle", responses=problems("storage"))
async def make_bundle(request: Request, use: Uses, who: Admin) -> BundleView:
    """What is known here, for whoever helps: settings, records, events, metrics, the last lines of the log. Keys,
    tokens, invitations and passwords are left out; read it before you send it, names and addresses are in it."""
    known = _secrets(use)
    files = {name: _text(await _told(part, use, who), known) for name, part in PARTS.items()}
    metrics = generate_latest(cast(Any, request.app.state.metrics)).decode()
    files["metrics.txt"] = scrub.text(metrics, known)
    files["log.txt"] = "".join(scrub.text(line, known) for line in use.surroundings.log())
    return BundleView(site=use.agent.site, made_at=use.agent.now(), files=files)


async def _told(part: Part, use: Services, who: Caller) -> object:
    """A part; in its place, why it could not be had: the bundle is made where things are broken."""
    try:
        return await part(use, who)
    except (IntertieError, OSError) as error:
        return {"problem": str(error)}


def _text(found: object, known: frozenset[str]) -> str:
    cleaned = scrub.value(json.loads(dumps(found)), known)
    return json.dumps(cleaned, indent=1, ensure_ascii=False) + "\n"


def _secrets(use: Services) -> frozenset[str]:
    """What must not be in it wherever it came from: the hashes that this site keeps."""
    entries = (e for space in use.agent.local.values() for e in space.values())
    found = (json.loads(e) for e in entries if e.startswith("{"))
    return frozenset(str(f["hash"]) for f in found if f.get("hash"))
