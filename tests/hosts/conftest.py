"""`hosts`: two hosts and a cable; only for root, since it takes other users than oneself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.machines import Host, cable, raise_host
from tests.hosts.wheels import wheelhouse

ADDRESSES = {"nantes": "192.0.2.1/24", "lyon": "192.0.2.2/24"}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Intertie and its build need, for machines without an index."""
    folder = tmp_path_factory.mktemp("wheels") / "wheels"
    wheelhouse(folder, "intertie", "hatchling")
    for own in folder.glob("intertie-*"):
        own.unlink()
    return folder


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[dict[str, Host]]:
    if Path("/proc/self/uid_map").read_text().split()[2] == "1":
        pytest.skip("hosts have users of their own: only root can make them")
    folder = tmp_path_factory.mktemp("hosts")
    found: dict[str, Host] = {}
    try:
        for name in ADDRESSES:
            found[name] = raise_host(name, folder, wheels)
        cable(found["nantes"], found["lyon"], (ADDRESSES["nantes"], ADDRESSES["lyon"]))
        yield found
    finally:
        for host in found.values():
            host.close()
