"""Planted bugs: each bites into something that exists, and nothing of it stays behind."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from intertie.planning import admit, change, held, trust
from intertie.testing.simulator.plants import PLANTS
from intertie.testing.simulator.plants.plant import PACKAGE, NoSuchTarget, always, planted, replaced, target
from intertie.testing.simulator.plants.table import Caught, as_markdown, read
from intertie.testing.simulator.profiles import PROFILES

EVERY = pytest.mark.parametrize("name", list(PLANTS))


def everything() -> dict[tuple[str, str], Any]:
    """What every name of the package means now, the entries of its classes too."""
    modules = [(n, m) for n, m in sys.modules.items() if n.split(".")[0] == PACKAGE]
    found: dict[tuple[str, str], Any] = {}
    for name, module in modules:
        for known_as, value in vars(module).items():
            found[name, known_as] = value
            if isinstance(value, type) and value.__module__ == name:
                found |= {(f"{name}.{known_as}", entry): v for entry, v in vars(value).items()}
    return found


def test_there_are_enough() -> None:
    assert len(PLANTS) >= 36


@EVERY
def test_a_plant_replaces_what_it_names_and_puts_it_back(name: str) -> None:
    plant = PLANTS[name]
    before = everything()
    assert next(iter(plant.mistakes)) == plant.where
    rights = {where: target(where)[2] for where in plant.mistakes}
    with plant.apply():
        for where, right in rights.items():
            assert target(where)[2] is not right
            assert not [place for place, value in everything().items() if value is right]
    after = everything()
    assert after.keys() == before.keys()
    assert all(after[place] is value for place, value in before.items())


@EVERY
def test_a_plant_says_what_it_is_and_where_it_is_looked_for(name: str) -> None:
    plant = PLANTS[name]
    assert plant.what.endswith(".")
    assert plant.expects
    assert plant.profiles
    assert set(plant.profiles) <= set(PROFILES)


def test_a_function_is_replaced_under_every_name_by_which_it_is_known() -> None:
    name = "occupied"  # admit and change know it by import
    assert getattr(admit, name) is getattr(change, name) is held.occupied
    with replaced("planning.held.occupied", always(())):
        assert getattr(admit, name) is getattr(change, name) is held.occupied
        assert getattr(admit, name)(None, None) == ()


@pytest.mark.parametrize(
    "gone", ["planning.held.nothing", "planning.nowhere.occupied", "store.rules.Settled.gone_by"]
)
def test_a_plant_whose_target_is_gone_cannot_be_switched_on(gone: str) -> None:
    with pytest.raises(NoSuchTarget), replaced(gone, always(())):
        pass


def test_a_mistake_that_changes_nothing_is_none() -> None:
    with pytest.raises(NoSuchTarget), replaced("planning.trust.pins", lambda right: right):
        pass


def test_what_a_story_raises_leaves_nothing_behind() -> None:
    right = trust.pins
    with pytest.raises(ZeroDivisionError), replaced("planning.trust.pins", always({})):
        raise ZeroDivisionError
    assert trust.pins is right


def test_a_plant_is_named_after_its_mistake() -> None:
    @planted("planning.trust.pins", expects=("I16",), profiles=("mixed",))
    def nobody_is_trusted(right: Any) -> Any:
        """Nobody
        is."""
        return always({})(right)

    assert (nobody_is_trusted.name, nobody_is_trusted.what) == ("nobody-is-trusted", "Nobody is.")


def test_the_table_is_read_as_it_was_written() -> None:
    first, second, third = list(PLANTS.values())[:3]
    rows = {
        first.name: Caught(name=first.name, invariant="I8", profile="mixed", seed=3, plays=5),
        second.name: Caught(
            name=second.name, invariant="rule 9", others=("I4", "I5"), profile="few-large", seed=1, plays=2
        ),
        third.name: Caught(name=third.name, plays=60),
    }
    assert read(as_markdown([(PLANTS[n], c) for n, c in rows.items()])) == rows
    assert [bool(c) for c in rows.values()] == [True, True, False]
