"""/v1/site, /v1/peers, /v1/invitations, /v1/mappings: this site, the others, and who may do what for whom."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Response

from intertie.agent import upkeep
from intertie.agent.access import Caller, Role
from intertie.agent.agent import Agent
from intertie.api.auth import Admin, Reader
from intertie.api.openapi import made, problems
from intertie.api.paging import Page, Paged, Window
from intertie.api.services import Services, Uses
from intertie.api.shapes import InvitationWish, JoinWish, MappingWish
from intertie.model.views import InvitationView, MappingView, PeerView, SiteView

site = APIRouter(prefix="/site", tags=["site"])
invitations = APIRouter(prefix="/invitations", tags=["peers"])
peers = APIRouter(prefix="/peers", tags=["peers"])
mappings = APIRouter(prefix="/mappings", tags=["peers"])


def site_view(agent: Agent) -> SiteView:
    return SiteView(
        name=agent.site,
        location=agent.settings.location,
        cloud=agent.settings.cloud,
        cell=agent.settings.cell,
        version=agent.settings.version,
        incarnation=agent.incarnation,
        root_fingerprint=agent.ports.keys.fingerprint,
        address=agent.settings.address,
        recovering=agent.recovering,
        transports={t.name: t for t in agent.inventory.transports},
        cloned_at=agent.cloned_at(),
    )


@site.get("", summary="Show this site")
async def show_site(use: Uses, who: Reader) -> SiteView:
    """Name, place, and what it can carry; a transport that is not ok says what it lacks."""
    told = upkeep.warnings(use.agent, use.surroundings) if who.role is Role.ADMIN else ()
    return replace(site_view(use.agent), warnings=told)


@site.post("/leave", status_code=204, summary="Leave the federation", responses=problems("in-use", "storage"))
async def leave(use: Uses, who: Admin) -> None:
    """Tells the peers, who forget this site, and forgets every peer. Refused while Vpns bind this site to others."""
    await use.enrolment.leave()


@invitations.post("", status_code=201, summary="Invite a site", responses=problems("name-taken", "rate", "storage"))
async def invite(use: Uses, who: Admin, wish: InvitationWish) -> InvitationView:
    """Makes the token with which the site of that name, and no other, may join once."""
    token, ends = await use.enrolment.invite(wish.name, wish.expires_in)
    return InvitationView(token=token, expires_at=ends)


@peers.get("", summary="List peers")
async def list_peers(use: Uses, who: Reader, page: Paged) -> Page[PeerView]:
    """`pending` is a site that a peer vouches for and that waits for approval, or one not heard of yet."""
    return page.of(use.enrolment.peers(), lambda p: p.name)


@peers.post(
    "",
    status_code=201,
    summary="Join a site",
    responses={**made("The site that invited."), **problems("owner-silent", "storage")},
)
async def join(use: Uses, who: Admin, response: Response, wish: JoinWish) -> PeerView:
    """With the token that its operator gave. The other sites come with its introductions."""
    name = await use.enrolment.join(wish.token)
    response.headers["Location"] = f"/v1/peers/{name}"
    return use.enrolment.peer(name)


@peers.get("/{name}", summary="Show a peer", responses=problems("not-found"))
async def show_peer(use: Uses, who: Reader, name: str) -> PeerView:
    return use.enrolment.peer(name)


@peers.delete("/{name}", status_code=204, summary="Forget a peer", responses=problems("not-found", "storage"))
async def forget(use: Uses, who: Admin, name: str) -> None:
    """From now on nothing of it is taken, and its connections are cut."""
    await use.enrolment.forget(name)


@peers.post("/{name}/approve", summary="Approve a peer", responses=problems("not-found", "storage"))
async def approve(use: Uses, who: Admin, name: str) -> PeerView:
    """Trust a site that a peer introduced; or take again what a quarantined one says, after one of its two agents was
    ended. A second time changes nothing."""
    await use.enrolment.approve(name)
    return use.enrolment.peer(name)


@peers.post("/{name}/mappings", status_code=201, summary="Map a project", responses=problems("not-found", "storage"))
async def map_project(use: Uses, who: Admin, name: str, wish: MappingWish) -> MappingView:
    """Let a project of the peer act as one of ours, for `l2`, `l3`, `reserve`, `read`. Without, it may nothing."""
    return await use.enrolment.map(name, wish.theirs, wish.ours, wish.may)


def _mappings(use: Services, who: Caller, page: Window, peer: str | None) -> Page[MappingView]:
    found = [m for m in use.enrolment.mappings(peer) if who.sees(m.ours)]
    return page.of(found, lambda m: f"{m.peer} {m.theirs}")


@peers.get("/{name}/mappings", summary="List a peer's mappings", responses=problems("not-found"))
async def list_peer_mappings(use: Uses, who: Reader, name: str, page: Paged) -> Page[MappingView]:
    """Those onto your project; an admin sees all."""
    use.enrolment.peer(name)
    return _mappings(use, who, page, name)


@mappings.get("", summary="List mappings")
async def list_mappings(use: Uses, who: Reader, page: Paged) -> Page[MappingView]:
    """Those onto your project, of all peers; an admin sees all."""
    return _mappings(use, who, page, None)
