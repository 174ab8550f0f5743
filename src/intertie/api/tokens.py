"""/v1/tokens: who may speak to this site."""

from __future__ import annotations

from fastapi import APIRouter

from intertie.api.auth import Admin
from intertie.api.conditions import Key
from intertie.api.openapi import problems
from intertie.api.paging import Page, Paged
from intertie.api.services import Uses
from intertie.api.shapes import TokenWish
from intertie.model.views import TokenView

router = APIRouter(prefix="/tokens", tags=["tokens"])


@router.get("", summary="List tokens")
async def list_tokens(use: Uses, who: Admin, page: Paged) -> Page[TokenView]:
    """All tokens of this site, without their secrets."""
    return page.of(use.tokens.all(), lambda t: t.id)


@router.post("", status_code=201, summary="Make a token", responses=problems("storage"))
async def create_token(use: Uses, who: Admin, wish: TokenWish, key: Key) -> TokenView:
    """`token` is shown this once: only a hash of it is kept. The same `Idempotency-Key` again gives another text, and
    revokes the one before."""
    return await use.tokens.create(wish.project, wish.role, key)


@router.delete("/{id}", status_code=204, summary="Revoke a token", responses=problems("not-found", "storage"))
async def revoke_token(use: Uses, who: Admin, id: str) -> None:
    """It is refused from the next request on; streams that it opened end."""
    await use.tokens.revoke(id)
