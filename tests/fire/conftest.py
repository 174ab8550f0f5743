"""`fire`: a federation that the stories of a file set alight one after the other; it takes seconds to make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fire.ledger import Ledger
from tests.fire.rig import FireRig, Proxied, unbroken
from tests.fire.settled import out, quiet
from tests.net.topologies.rig import Site
from tests.net.topologies.topology import Topology, read_topology

STRETCHED = {"a": "nantes", "b": "lyon", "c": "rennes"}
ROUTED = {"x": "nantes", "y": "lyon"}


@dataclass(slots=True)
class Fire:
    """A federation, and what its users were told."""

    rig: FireRig
    ledger: Ledger

    def __getitem__(self, site: str) -> Site:
        return self.rig[site]

    @property
    def net(self) -> Proxied:
        return self.rig.net

    @contextmanager
    def story(self, *, end_quiet: bool = False) -> Iterator[None]:
        """Whatever burns meanwhile: not an echo is lost between hosts that were joined before. At the end the fire is
        put out, and everything is as users were told."""
        with unbroken([*self.rig.pings(STRETCHED), *self.rig.pings(ROUTED)]):
            try:
                yield
            except BaseException:
                for site in self.rig:
                    print(f"--- {site.name}\n{site.log()}")
                self.rig.put_out()  # the next story may have a better end
                raise
            out(self.rig, self.ledger)
        if end_quiet:
            quiet(self.rig)


def kindle(topology: Topology, directory: Path) -> Iterator[Fire]:
    """The topology, running and whole."""
    rig = FireRig(topology, directory)
    try:
        rig.build()
        yield Fire(rig, Ledger.of(rig))
    except AssertionError:
        for site in rig:
            print(f"--- {site.name}\n{site.log()}")
        raise
    finally:
        rig.close()


@pytest.fixture(scope="module")
def fire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fire]:
    yield from kindle(read_topology(Path(__file__).parent), tmp_path_factory.mktemp("fire"))
