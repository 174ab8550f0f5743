"""docs/partitions.md, cell by cell: every operation in every situation, as a user meets it."""

from __future__ import annotations

import pytest

from tests.federation.partitions import table
from tests.federation.partitions.operation import Operation
from tests.federation.partitions.proof import prove, prove_looks
from tests.federation.partitions.situations import SITUATIONS, Place, Situation

CASES = [(s, o) for s in SITUATIONS for o in table.changes(s)]


@pytest.mark.parametrize(("situation", "operation"), CASES, ids=[f"{s.id}:{o.id}" for s, o in CASES])
def test_cell(situation: Situation, operation: Operation) -> None:
    prove(situation, operation, table.CELLS[situation.id][operation.id])


@pytest.mark.parametrize("situation", SITUATIONS, ids=[s.id for s in SITUATIONS])
def test_looks(situation: Situation) -> None:
    """Lists, plans, verification, health: one after another in one scene, since they change nothing."""
    here = situation.stand(Place.ANY)
    assert here is not None
    asked = [o for o in table.looks(situation) if situation.stand(o.at) == here]
    assert asked == table.looks(situation)
    prove_looks(situation, [(o, table.CELLS[situation.id][o.id]) for o in asked], here)
