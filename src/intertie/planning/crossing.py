"""Prefixes of an L3 Vpn's members that overlap: whose stay, when answers cross (federation rule 11)."""

from __future__ import annotations

from collections.abc import Mapping

from intertie.model.bodies import Prefix, VpnBody
from intertie.model.errors import Reason
from intertie.model.records import Record
from intertie.planning.held import member_prefixes, overlapping
from intertie.planning.table import Table


def crossed(table: Table, vpn: Record, mine: tuple[Prefix, ...]) -> Reason | None:
    """Why this site's prefixes cannot be in the Vpn beside those of an earlier member."""
    body = vpn.body
    assert isinstance(body, VpnBody)
    pair = crossing(body, {**member_prefixes(table, vpn), table.site: mine}, table.site)
    return overlap(f"{pair[0]} at {table.site}", f"{pair[1]} at {pair[2]}") if pair else None


def crossing(
    body: VpnBody, prefixes: Mapping[str, tuple[Prefix, ...]], site: str
) -> tuple[Prefix, Prefix, str] | None:
    """(a prefix of `site`, one that it overlaps, whose that is), if an earlier member has one. Answers cross: all
    sites apply the same rule, so the one that stands earlier in the list stays."""
    for other in body.attachments:
        if other.site == site:
            return None
        if not other.leaving and (pair := overlapping(prefixes.get(site, ()), prefixes.get(other.site, ()))):
            return (*pair, other.site)
    return None


def overlap(one: str, other: str) -> Reason:
    return Reason(code="overlap", text=f"{one} overlaps {other}", hint="route between networks whose prefixes differ")
