"""The PostgreSQL store against the plain model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import settings

from intertie.testing.postgres_rig import PostgresRig
from intertie.testing.postgres_server import PostgresServer
from intertie.testing.store_machine import StoreMachine
from intertie.testing.store_suite import Rig


class PostgresMachine(StoreMachine):
    server: ClassVar[PostgresServer]

    def new_rig(self) -> Rig:
        self._directory = tempfile.TemporaryDirectory()
        self._rig = PostgresRig(self.server, Path(self._directory.name))
        return self._rig

    def teardown(self) -> None:
        super().teardown()
        self._rig.close()
        self._directory.cleanup()


@pytest.fixture(autouse=True, scope="module")
def served(postgres: PostgresServer) -> None:
    PostgresMachine.server = postgres


TestPostgresMachine = PostgresMachine.TestCase
TestPostgresMachine.settings = settings(max_examples=8, stateful_step_count=20, deadline=None)
