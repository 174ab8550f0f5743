"""/v1/vpns: services between sites."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

from fastapi import APIRouter, Query, Response

from intertie.agent.vpn_views import Outcome
from intertie.api.auth import Admin, Member, Reader
from intertie.api.conditions import IfMatch, Key, MayMatch, Planned, Wait, base_of, planned_as, tagged
from intertie.api.openapi import made, problems, shows
from intertie.api.paging import Page, Paged
from intertie.api.services import Uses
from intertie.api.shapes import VpnChange, VpnWish
from intertie.model.views import PendingVpn, PlanView, Verified, VpnView
from intertie.planning.status import in_order

router = APIRouter(prefix="/vpns", tags=["vpns"])

REFUSALS = ("no-common-transport", "unknown-site", "refused-by-member", "owner-silent", "storage")
Named = Annotated[str, Query(description="Only the Vpn of this name.", max_length=63)]
Anyway = Annotated[bool, Query(description="Though its home answers.")]
Force = Annotated[bool, Query(description="Do not wait for ports in use; destroys nothing that is.")]


def shown(response: Response, outcome: Outcome) -> VpnView:
    """The Vpn with its ETag; 202 and `pending` where its home has not spoken."""
    vpn = tagged(response, outcome.vpn)
    if outcome.pending is None:
        return vpn
    response.status_code = 202
    return PendingVpn(**{f.name: getattr(vpn, f.name) for f in fields(vpn)}, pending=outcome.pending)


@router.get("", summary="List Vpns")
async def list_vpns(use: Uses, who: Reader, page: Paged, name: Named = "") -> Page[VpnView]:
    """The Vpns of your project that this site is a member of, in order of creation."""
    all = in_order(use.agent.table)
    return page.of_ordered(all, lambda vpn: use.vpns.shown(who, vpn) if name in ("", vpn.body.name) else None)


@router.post(
    "",
    status_code=201,
    summary="Make a Vpn",
    response_model=VpnView | PlanView,
    responses={
        **shows(200, PlanView, "`plan=true`: what would be done at every member."),
        **made("The Vpn; Location and ETag are its own.", etag=True),
        **problems(*REFUSALS, "overlap", "name-taken", "unknown-network", "prefix-too-small", "stale"),
    },
)
async def create_vpn(
    use: Uses,
    who: Member,
    response: Response,
    wish: VpnWish,
    wait: Wait,
    key: Key,
    match: MayMatch,
    plan: Planned = False,
) -> VpnView | PlanView:
    """Joins networks of two sites or more.

    `l2` stretches the network that the first attachment names over the others, which make it where no network is
    named. `l3` routes between networks that exist. Each member decides for itself; with `Prefer: wait` the answer
    comes when all have, and a refusal is then 409 `refused-by-member` with nothing left behind. `If-Match` with the
    `base_version` of a plan: 412 if it would do something else by now.
    """
    if plan:
        response.status_code = 200
        return use.vpns.plans.create(who, wish.request())
    vpn = await use.vpns.create(who, wish.request(), wait, key, planned_as(match))
    response.headers["Location"] = f"/v1/vpns/{vpn.id}"
    return tagged(response, vpn)


@router.get("/{id}", summary="Show a Vpn", responses={**made("The Vpn.", 200, etag=True), **problems("not-found")})
async def show_vpn(use: Uses, who: Reader, response: Response, id: str) -> VpnView:
    """By id, or by name. Phase and health are derived now, from records and from packets."""
    return tagged(response, use.vpns.get(who, id))


@router.put(
    "/{id}",
    summary="Change name and members",
    response_model=PendingVpn | VpnView | PlanView,
    responses={
        **shows(202, PendingVpn, "Asked of the Vpn's home, another site, which has not spoken yet."),
        **problems(*REFUSALS, "not-found", "name-taken", "stale", "precondition-required"),
    },
)
async def change_vpn(
    use: Uses,
    who: Member,
    response: Response,
    id: str,
    wish: VpnChange,
    match: IfMatch,
    wait: Wait,
    plan: Planned = False,
) -> VpnView | PlanView:
    """The whole list of members: who is new is added, who is missing leaves once its ports are free."""
    base = base_of(match, use.vpns.get(who, id))
    if plan:
        return use.vpns.plans.update(who, id, wish.name or "", wish.members(), base)
    return shown(response, await use.vpns.update(who, id, wish.name or "", wish.members(), base, wait))


@router.delete(
    "/{id}",
    status_code=202,
    summary="End a Vpn",
    response_model=PendingVpn | VpnView | PlanView,
    responses={
        **shows(200, PlanView, "`plan=true`: what would be done at every member."),
        **shows(202, PendingVpn | VpnView, "It is ending; with `pending` where its home has not spoken yet."),
        204: {"description": "It is gone."},
        **problems("not-found", "in-use", "owner-silent", "stale", "precondition-required", "storage"),
    },
)
async def end_vpn(
    use: Uses,
    who: Member,
    response: Response,
    id: str,
    match: IfMatch,
    wait: Wait,
    force: Force = False,
    plan: Planned = False,
) -> VpnView | PlanView | Response:
    """Members let go once their ports are free. Waited for and busy: 409 `in-use`, and it goes when they are."""
    base = base_of(match, use.vpns.get(who, id))
    if plan:
        response.status_code = 200
        return use.vpns.plans.delete(who, id, base, force)
    outcome = await use.vpns.delete(who, id, base, force, wait)
    return shown(response, outcome) if outcome is not None else Response(None, 204, response.headers)


@router.delete(
    "/{id}/proposals/{proposal}",
    status_code=204,
    summary="Withdraw a proposal",
    responses=problems("not-found", "storage"),
)
async def withdraw_proposal(use: Uses, who: Member, id: str, proposal: str) -> None:
    """A change that was asked for here and waits for the home, another site. What that has applied stays applied."""
    await use.vpns.withdraw(who, id, proposal)


@router.post("/{id}/verify", summary="Send packets now", responses=problems("not-found", "stale"))
async def verify_vpn(use: Uses, who: Reader, id: str) -> Verified:
    """Every pair of hosts, from each member's own, packets of the full MTU included. Where one is lost: why."""
    return await use.vpns.verify(who, id)


@router.post(
    "/{id}/adopt", summary="Become its home", responses=problems("not-found", "stale", "owner-up", "storage")
)
async def adopt_vpn(
    use: Uses, who: Admin, response: Response, id: str, match: MayMatch, force: Anyway = False
) -> VpnView:
    """For a Vpn whose home is lost for good; refused while it answers. Should it return, it yields, and shows what it
    wrote meanwhile as `superseded`."""
    base = base_of(match, use.vpns.get(who, id))
    return tagged(response, await use.vpns.adopt(who, id, base, force))
