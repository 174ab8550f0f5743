"""What the shell offers for NAME: asked of the agent, briefly; a silent agent offers nothing."""

from __future__ import annotations

import os
from pathlib import Path

import typer

from intertie.cli.body import Body
from intertie.cli.client import Client
from intertie.cli.problem import Problem
from intertie.cli.where import Flags, place

PATIENCE = 1.0

Offer = list[tuple[str, str]]
"""(word, what it is)."""


def vpns(ctx: typer.Context, incomplete: str) -> Offer:
    return [
        (each.text("name"), f"{each.text('kind')}, {each.text('phase')}")
        for each in _items(ctx, "/v1/vpns", incomplete)
    ]


def networks(ctx: typer.Context, incomplete: str) -> Offer:
    found = _items(ctx, "/v1/networks", incomplete)
    return [(each.text("name"), ", ".join(each.texts("prefixes"))) for each in found]


def hosts(ctx: typer.Context, incomplete: str) -> Offer:
    return [(each.text("name"), each.text("address")) for each in _items(ctx, "/v1/hosts", incomplete)]


def peers(ctx: typer.Context, incomplete: str) -> Offer:
    return [(each.text("name"), each.text("state")) for each in _items(ctx, "/v1/peers", incomplete)]


def attachments(ctx: typer.Context, incomplete: str) -> Offer:
    """Sites first; after the colon this site's networks, the only ones that it knows."""
    site, colon, network = incomplete.partition(":")
    if colon:
        return [(f"{site}:{name}", prefixes) for name, prefixes in networks(ctx, network)]
    own = _get(ctx, "/v1/site").text("name")
    return [(own, "this site")] * own.startswith(incomplete) * bool(own) + peers(ctx, incomplete)


def _items(ctx: typer.Context, path: str, start: str) -> list[Body]:
    return [each for each in _get(ctx, path).parts("items") if each.text("name").startswith(start)]


def _get(ctx: typer.Context, path: str) -> Body:
    try:
        with Client(place(_flags(ctx), os.environ)) as client:
            return client.call("GET", path, patience=PATIENCE).body
    except Problem:
        return Body(None)


def _flags(ctx: typer.Context) -> Flags:
    """The shared options that were typed so far, at the command or before it."""
    typed = {**ctx.find_root().params, **{name: value for name, value in ctx.params.items() if value}}
    found = {name: str(typed[name]) for name in ("url", "token", "project") if typed.get(name)}
    return Flags(**found, dir=Path(typed["dir"]) if typed.get("dir") else None)
