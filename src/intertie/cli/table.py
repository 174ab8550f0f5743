"""Tables: aligned text for pipes, the same with colours and folded notes on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

STYLES = {
    **dict.fromkeys(("ready", "up", "accepted", "ok", "yes"), "green"),
    **dict.fromkeys(("waiting", "pending", "unknown", "degraded", "held", "silent", "deleting", "drained"), "yellow"),
    **dict.fromkeys(("down", "refused", "broken", "no", "forgotten"), "red"),
}
"""Colours of the words of state; a word is never replaced by its colour."""


@dataclass(frozen=True, slots=True)
class Column:
    """`right` aligns numbers; `fold` lets long words wrap on a terminal (never in a pipe)."""

    title: str
    right: bool = False
    fold: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    columns: tuple[Column, ...]
    rows: Sequence[Sequence[str]]
    empty: str = ""
    """Said instead of a table without rows."""


def columns(*titles: str) -> tuple[Column, ...]:
    """Columns from titles: `>RTT` is aligned right, `REASON…` folds."""
    return tuple(Column(t.strip(">…"), right=t.startswith(">"), fold=t.endswith("…")) for t in titles)


def plain(table: Table) -> list[str]:
    """Lines, two blanks between columns, none at the end."""
    titles = [column.title for column in table.columns]
    widths = [max(len(row[i]) for row in (titles, *table.rows)) for i in range(len(titles))]
    return [
        "  ".join(
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(row, widths, table.columns, strict=True)
        ).rstrip()
        for row in (titles, *table.rows)
    ]


def show(table: Table, console: Console) -> None:
    """On a terminal: as wide as it is, states in colour unless NO_COLOR says otherwise."""
    from rich.table import Table as Rich
    from rich.text import Text

    # pad_edge off and no box: what is copied from the screen is the same as from a pipe.
    drawn = Rich(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in table.columns:
        drawn.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.fold,
            overflow="fold",
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    console.print(drawn)
