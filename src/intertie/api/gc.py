"""/v1/gc: what no record explains, and its removal."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from intertie.agent.orphans import Orphans
from intertie.api.auth import Admin
from intertie.api.conditions import MayMatch, Planned, planned_as
from intertie.api.openapi import problems
from intertie.api.services import Uses
from intertie.model.views import Collected

router = APIRouter(prefix="/gc", tags=["plan"])

Force = Annotated[bool, Query(description="Hosts of ours, too, and what they use. Never what others' ports are on.")]


@router.post("", summary="Remove orphans", responses=problems("stale", "storage"))
async def collect_orphans(
    use: Uses, who: Admin, match: MayMatch, force: Force = False, plan: Planned = False
) -> Collected:
    """Removes what carries this site's mark and no record explains, unless it is in use; `kept` says why.

    `plan=true` shows it and removes nothing. `If-Match` with the `base_version` that was shown: 412 if there are
    other orphans by now.
    """
    orphans = Orphans(use.rounds)
    return await (orphans.plan(who, force) if plan else orphans.collect(who, force, planned_as(match)))
