"""What the shell offers for NAME: asked of the agent, briefly; a silent agent offers nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from intertie.cli.session import Given, lean, place
from intertie.model.errors import IntertieError

if TYPE_CHECKING:
    from intertie.client import Client

PATIENCE = 1.0

Offer = list[tuple[str, str]]
"""(word, what it is)."""


def vpns(ctx: typer.Context, incomplete: str) -> Offer:
    return _offer(
        ctx, incomplete, lambda client: [(v.name, f"{v.kind}, {v.phase}") for v in client.vpns.list().first()]
    )


def networks(ctx: typer.Context, incomplete: str) -> Offer:
    return _offer(
        ctx,
        incomplete,
        lambda client: [(n.name, ", ".join(map(str, n.prefixes))) for n in client.networks.list().first()],
    )


def hosts(ctx: typer.Context, incomplete: str) -> Offer:
    return _offer(ctx, incomplete, lambda client: [(h.name, str(h.address)) for h in client.hosts.list().first()])


def peers(ctx: typer.Context, incomplete: str) -> Offer:
    return _offer(ctx, incomplete, lambda client: [(p.name, p.state) for p in client.peers.list().first()])


def attachments(ctx: typer.Context, incomplete: str) -> Offer:
    """Sites first; after the colon this site's networks, the only ones that it knows."""
    site, colon, network = incomplete.partition(":")
    if colon:
        return [(f"{site}:{name}", prefixes) for name, prefixes in networks(ctx, network)]
    own = _offer(ctx, incomplete, lambda client: [(client.site().value.name, "this site")])
    return own + peers(ctx, incomplete)


def _offer(ctx: typer.Context, start: str, ask: Callable[[Client], Offer]) -> Offer:
    lean()
    from intertie.client import Client

    try:
        with Client(place(_given(ctx)), PATIENCE) as client:
            return [(name, words) for name, words in ask(client) if name.startswith(start)]
    except IntertieError:
        return []


def _given(ctx: typer.Context) -> Given:
    """The shared options that were typed so far, at the command or before it."""
    typed = {**ctx.find_root().params, **{name: value for name, value in ctx.params.items() if value}}
    found = {name: str(typed[name]) for name in ("url", "token", "project", "os_cloud") if typed.get(name)}
    return Given(**found, dir=Path(typed["dir"]) if typed.get("dir") else None)  # type: ignore[arg-type]
