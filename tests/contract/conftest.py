"""The PostgreSQL server of a run: the tests' own, started when the first test asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from intertie.testing.postgres_server import PostgresServer, programs
from tests.conftest import lacks


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    if programs() is None:
        lacks("no PostgreSQL server is installed (Debian: postgresql)")
    server = PostgresServer()
    yield server
    server.stop()
