"""Both stores against the plain model."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings

from intertie.testing.store_machine import StoreMachine
from intertie.testing.store_rigs import MemoryRig, SqliteRig
from intertie.testing.store_suite import Rig


class MemoryMachine(StoreMachine):
    def new_rig(self) -> Rig:
        return MemoryRig()


class SqliteMachine(StoreMachine):
    def new_rig(self) -> Rig:
        self._directory = tempfile.TemporaryDirectory()
        return SqliteRig(Path(self._directory.name))

    def teardown(self) -> None:
        super().teardown()
        self._directory.cleanup()


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestSqliteMachine = SqliteMachine.TestCase
TestSqliteMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
