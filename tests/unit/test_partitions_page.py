"""docs/partitions.md is what the table says, the table is whole, and every test that the page names is there."""

from __future__ import annotations

import importlib

from tests.federation.partitions import table, test_cells
from tests.federation.partitions.situations import SITUATIONS
from tools import partitions


def test_the_page_is_up_to_date() -> None:
    assert partitions.PAGE.read_text() == partitions.page(), "write it anew: .venv/bin/python tools/partitions.py"


def test_every_operation_has_a_cell_in_every_situation_and_none_is_left_over() -> None:
    assert set(table.CELLS) == {s.id for s in SITUATIONS}
    for situation in SITUATIONS:
        wanted = {o.id for o in table.OPERATIONS if table.has_cell(situation, o)}
        assert wanted <= table.CELLS[situation.id].keys(), situation.id
    assert {o.id for o in table.OPERATIONS} == {id for cells in table.CELLS.values() for id in cells}


def test_every_test_that_the_page_names_is_there() -> None:
    cases = {f"{table.FILE}::test_cell[{s.id}:{o.id}]" for s, o in test_cells.CASES}
    cases |= {f"{table.FILE}::test_looks[{s.id}]" for s in SITUATIONS}
    for name in partitions.named_tests():
        if name in cases:
            continue
        path, _, function = name.partition("::")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        assert callable(getattr(module, function, None)), name


def test_each_operation_of_a_group_has_its_own_name() -> None:
    ids = [o.id for o in table.OPERATIONS]
    assert len(ids) == len(set(ids))
    words = [o.words for o in table.OPERATIONS]
    assert len(words) == len(set(words))
