"""/v1/plan: what this site's next round would do."""

from __future__ import annotations

from fastapi import APIRouter

from intertie.agent.access import Caller
from intertie.api.auth import Reader
from intertie.api.openapi import problems
from intertie.api.services import Services, Uses
from intertie.api.sight import item_project
from intertie.model.items import Item, key
from intertie.model.views import PlanChange, SitePlan
from intertie.planning.diff import describe

router = APIRouter(prefix="/plan", tags=["plan"])


@router.get("", summary="Show the next round", responses=problems("storage"))
async def show_plan(use: Uses, who: Reader) -> SitePlan:
    """Of your project; an admin sees all. Empty when the site is as it shall be."""
    return await shown_plan(use, who)


async def shown_plan(use: Services, who: Caller) -> SitePlan:
    plan = await use.rounds.plan()

    def mine(item: Item) -> bool:
        return who.sees(item_project(use.agent, item))

    last, site = use.agent.table.last(), use.agent.site
    return SitePlan(
        base_version=f"{last.incarnation}.{last.seq}",
        changes=tuple(_line(site, c.op, c.item, c.text) for c in plan.changes if mine(c.item)),
        orphans=tuple(
            _line(site, "?", i, f"? {describe(i)}: no record explains it") for i in plan.orphans if mine(i)
        ),
        kept=tuple(_line(site, "!", i, f"! {describe(i)}: ports are in use") for i in plan.kept if mine(i)),
    )


def _line(site: str, op: str, item: Item, text: str) -> PlanChange:
    return PlanChange(site=site, op=op, what=key(item)[0].value, text=text)
