"""What every database store does when it is opened, inside the opening transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection

from intertie.model.records import Cursor
from intertie.model.storage import Snapshot
from intertie.store import rows, schema


def take_up(
    connection: Connection,
    site: str,
    decode: rows.Decode,
    check: Callable[[Connection], None],
    floor: tuple[int, Cursor | None],
) -> Snapshot:
    """Makes or migrates the tables, reads everything, and raises the incarnation if it was lost or rolled back.

    `check` looks at the structure of a database that was there. `floor`: the incarnation asked for, and how far the
    marker says that the store has come. Raises Damaged, TooNew.
    """
    at_least, reached = floor
    fresh = schema.bring_up(connection)
    if fresh:
        rows.make_head(connection, site)
    else:
        check(connection)
    loaded, last = rows.load(connection, site, decode)
    behind = reached if reached is not None and reached > last else None
    incarnation = max(last.incarnation, at_least)
    if fresh or behind:
        # Above everything that the lost or newer copy can have written, whatever part of it is known.
        incarnation = max(incarnation, reached.incarnation if reached else 0) + 1
    if incarnation > last.incarnation:
        raised = replace(rows.head(connection), last=Cursor(incarnation, last.seq))
        rows.set_head(connection, site, raised)
    return Snapshot(
        records=loaded.records,
        cursors=loaded.cursors,
        acked=loaded.acked,
        local=loaded.local,
        incarnation=incarnation,
        seq=last.seq,
        fresh=fresh,
        behind=behind,
    )
