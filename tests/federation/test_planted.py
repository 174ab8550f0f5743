"""The tester, tested: each planted bug is noticed again by the seed that once found it (docs/planted-bugs.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from intertie.testing.simulator.plants import PLANTS, catch, caught_by
from intertie.testing.simulator.plants.table import read

TABLE = Path(__file__).parents[2] / "docs" / "planted-bugs.md"
KEPT = read(TABLE.read_text(encoding="utf-8"))
MOST = 60
"""Stories change with the workload: where the seed of the table finds nothing any more, this many others may."""


def test_the_table_has_a_row_for_every_plant_and_none_survived() -> None:
    assert {c.name for c in KEPT.values() if c} == set(PLANTS), (
        "write it anew: python -m intertie.testing.simulator.plants --write"
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", list(PLANTS))
def test_a_planted_bug_is_caught(name: str) -> None:
    kept = KEPT[name]
    found = caught_by(name, kept.profile, kept.seed)
    assert found or catch(name, MOST), f"nobody notices it: {PLANTS[name].what}"
