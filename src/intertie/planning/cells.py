"""Cells: several sites of one cloud, each with an agent and endpoints of its own.

A site may say that it is one cell of a cloud. A user then writes `CLOUD/CELL` where a site's name could stand, and
need not know what the site beside that cell is called. In records a member is always the site.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from intertie.model.bodies import Attachment, SiteBody
from intertie.model.errors import Refused
from intertie.planning import trust
from intertie.planning.table import Table


def at_sites(table: Table, attachments: Iterable[Attachment]) -> tuple[Attachment, ...]:
    """The attachments with each `CLOUD/CELL` as the site that is it. Refused, with what there is, if none or
    several sites say so."""
    return tuple(_at_site(table, a) for a in attachments)


def _at_site(table: Table, wanted: Attachment) -> Attachment:
    sites = [
        b for name in sorted({table.site, *trust.pins(table)}) if (b := trust.site_body(table, name)) is not None
    ]
    cells = [b for b in sites if wanted.site in (b.cloud, b.name) and b.cell]
    if not wanted.cell:
        if cells and wanted.site not in {b.name for b in sites}:
            raise Refused(
                f"{wanted.site} is a cloud of several cells", code="unknown-site", hint=f"name one: {_names(cells)}"
            )
        return wanted
    found = [b for b in cells if b.cell == wanted.cell]
    if len(found) == 1:
        return replace(wanted, site=found[0].name)
    if found:
        raise Refused(
            f"{' and '.join(b.name for b in found)} both say that they are {wanted.site}/{wanted.cell}",
            code="unknown-site",
            hint="name the site alone",
        )
    raise Refused(
        f"{wanted.site} has no cell {wanted.cell}",
        code="unknown-site",
        hint=f"there are {_names(cells)}" if cells else "name the site alone",
    )


def _names(cells: Iterable[SiteBody]) -> str:
    return ", ".join(f"{b.cloud}/{b.cell}" for b in cells)
