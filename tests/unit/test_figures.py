"""What is counted of the store."""

from __future__ import annotations

import pytest

from intertie.agent.figures import Figures
from intertie.model.storage import Change, Committed, Overtaken, StorageError


async def commits(error: StorageError | None) -> Committed:
    if error is not None:
        raise error
    return Committed()


async def test_a_store_where_another_agent_was_first_is_well() -> None:
    """Otherwise an agent would be unready for as long as others write, although it decides again at once."""
    figures = Figures()
    with pytest.raises(Overtaken):
        await figures.commit(commits(Overtaken(Change())))
    assert figures.store_problem == ""
    with pytest.raises(StorageError):
        await figures.commit(commits(StorageError("the disk is full")))
    assert figures.store_problem == "the disk is full"
    await figures.commit(commits(None))
    assert figures.store_problem == ""
    assert figures.commits == {("conflict",): 1, ("unavailable",): 1, ("ok",): 1}
