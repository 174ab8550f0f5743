"""Whom this site trusts, with what: read from its own Introductions, Forgottens and Mappings."""

from __future__ import annotations

from collections.abc import Mapping

from intertie.model.bodies import ForgottenBody, IntroductionBody, MappingBody, SiteBody
from intertie.model.records import Kind, Record
from intertie.planning.table import Table

TRUST = (Kind.INTRODUCTION, Kind.FORGOTTEN)


def pins(table: Table, site: str | None = None) -> Mapping[str, IntroductionBody]:
    """peer → the introduction by which `site` (default: this one) pins its root. Forgotten peers are not in it."""
    by = site or table.site
    # Asked with every message and every decision, and hardly ever another answer.
    return table.derived(("pins", by), TRUST, lambda: _pins(table, by))


def _pins(table: Table, by: str) -> Mapping[str, IntroductionBody]:
    gone = forgotten(table, by)
    return {
        b.site: b
        for r, b in table.bodies(Kind.INTRODUCTION, IntroductionBody)
        if r.home == by and b.site != by and b.incarnation > gone.get(b.site, -1)
    }


def forgotten(table: Table, site: str | None = None) -> dict[str, int]:
    """peer → the highest incarnation of it that `site` (default: this one) takes nothing from any more."""
    by = site or table.site
    found: dict[str, int] = {}
    for r, b in table.bodies(Kind.FORGOTTEN, ForgottenBody):
        if r.home == by:
            found[b.site] = max(found.get(b.site, -1), b.incarnation)
    return found


def introduced(table: Table) -> dict[str, tuple[str, IntroductionBody]]:
    """Sites that a pinned peer vouches for and that this site has neither pinned nor forgotten: name → (by, what)."""
    pinned, gone = pins(table), forgotten(table)
    found: dict[str, tuple[str, IntroductionBody]] = {}
    for r, b in table.bodies(Kind.INTRODUCTION, IntroductionBody):
        known = b.site == table.site or b.site in pinned or b.incarnation <= gone.get(b.site, -1)
        if r.home in pinned and not known:
            found.setdefault(b.site, (r.home, b))
    return found


def disputed(table: Table) -> set[str]:
    """Sites for which pinned peers vouch with different roots: one of them is wrong or lies."""
    pinned = pins(table)
    roots: dict[str, set[str]] = {}
    for r, b in table.bodies(Kind.INTRODUCTION, IntroductionBody):
        if r.home in pinned and b.site != r.home:
            roots.setdefault(b.site, set()).add(b.root)
    return {site for site, found in roots.items() if len(found) > 1}


def site_record(table: Table, site: str) -> Record | None:
    return table.get(f"{site}.site")


def site_body(table: Table, site: str) -> SiteBody | None:
    record = site_record(table, site)
    return record.body if record is not None and record.live and isinstance(record.body, SiteBody) else None


def mapped(table: Table, peer: str, theirs: str, may: str) -> str | None:
    """The project of ours that `theirs` of `peer` stands for, if it may do that; None otherwise (default deny)."""
    for _, b in table.bodies(Kind.MAPPING, MappingBody):
        if (b.peer, b.theirs) == (peer, theirs) and may in b.may:
            return b.ours
    return None
