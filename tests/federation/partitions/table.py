"""The whole table: operation × situation → cell, and the name of the test that plays it out."""

from __future__ import annotations

from collections.abc import Mapping

from tests.federation.partitions import site_operations, vpn_operations
from tests.federation.partitions.cell import Cell
from tests.federation.partitions.cells_links import ALONE, MAJORITY_GONE, OWNER_SILENT, PEER_SILENT, WELL
from tests.federation.partitions.cells_site import (
    BACKUP,
    CLOCK_AHEAD,
    CLOCK_BEHIND,
    DISK_FULL,
    EMPTY_STORE,
    PEER_FORGOTTEN,
)
from tests.federation.partitions.operation import Operation, reads
from tests.federation.partitions.situations import SITUATIONS, Situation

OPERATIONS: tuple[Operation, ...] = (*vpn_operations.OPERATIONS, *site_operations.OPERATIONS)

CELLS: Mapping[str, Mapping[str, Cell]] = {
    "all-well": WELL,
    "peer-silent": PEER_SILENT,
    "owner-silent": OWNER_SILENT,
    "majority-gone": MAJORITY_GONE,
    "alone": ALONE,
    "disk-full": DISK_FULL,
    "clock-ahead": CLOCK_AHEAD,
    "clock-behind": CLOCK_BEHIND,
    "backup": BACKUP,
    "empty-store": EMPTY_STORE,
    "peer-forgotten": PEER_FORGOTTEN,
}
"""Situation → operation → cell."""

FILE = "tests/federation/partitions/test_cells.py"


def has_cell(situation: Situation, operation: Operation) -> bool:
    """Whether a user can ask for it there: at a home that is silent nobody can."""
    return situation.stand(operation.at) is not None


def changes(situation: Situation) -> list[Operation]:
    return [o for o in OPERATIONS if not reads(o) and has_cell(situation, o)]


def looks(situation: Situation) -> list[Operation]:
    return [o for o in OPERATIONS if reads(o) and has_cell(situation, o)]


def test_id(situation: Situation, operation: Operation) -> str:
    """As pytest has it."""
    if reads(operation):
        return f"{FILE}::test_looks[{situation.id}]"
    return f"{FILE}::test_cell[{situation.id}:{operation.id}]"


def cells() -> list[tuple[Situation, Operation, Cell]]:
    return [(s, o, CELLS[s.id][o.id]) for s in SITUATIONS for o in OPERATIONS if has_cell(s, o)]
