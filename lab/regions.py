"""A running lab: regions that share a Keystone, or clouds that share nothing."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from lab import broker, database, environment, identity, settings, sites, switching, template
from lab.process import Services, wait_for
from lab.settings import PASSWORD, REGIONS, Region

BASE = 15000
QUEUES = 16
"""The first of the broker's ports, from `base` on."""
WITH_AGENTS = ("ovs",)
"""Data planes whose switches Neutron tells by messages what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to start. Keystones listen on `base` and following, Neutrons ten above."""

    layout: str = "shared"
    regions: int = 2
    base: int = BASE
    address: str = "127.0.0.1"
    data_plane: str = "none"


@dataclass(slots=True, kw_only=True)
class Lab:
    """What runs, and where. `tenants`: number of a Keystone → project → id."""

    folder: Path
    wish: Wish
    regions: list[Region]
    sites: list[sites.Site] = field(default_factory=list)
    """With a data plane: where each region's is."""
    tenants: dict[int, dict[str, str]] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    """"keystone-0", "neutron-0" …: whom to stop, kill or freeze in a test of failure."""

    @property
    def clouds_yaml(self) -> Path:
        return self.folder / "clouds.yaml"

    @property
    def service_yaml(self) -> Path:
        """As `clouds_yaml`, for the user that an agent is."""
        return self.folder / "service.yaml"

    def document(self) -> dict[str, object]:
        """For whoever started the lab: one line of JSON."""
        regions = [
            {
                **asdict(r),
                "cloud": r.cloud,
                "project_ids": self.tenants[r.keystone],
                "pid": self.pids[f"neutron-{r.number}"],
            }
            for r in self.regions
        ]
        return {
            "event": "ready",
            "clouds_yaml": str(self.clouds_yaml),
            "regions": regions,
            "users": {p: [f"{p}-{role}" for role in roles] for p, roles in identity.TENANTS.items()},
            "password": PASSWORD,
            "pids": self.pids,
        }


def plan(wish: Wish) -> list[Region]:
    """The regions of a lab, and where each is."""
    found = []
    for number in range(wish.regions):
        keystone = 0 if wish.layout == "shared" else number
        found.append(
            Region(
                number=number,
                name=REGIONS[number],
                keystone=keystone,
                keystone_url=f"http://{wish.address}:{wish.base + keystone}/v3",
                url=f"http://{wish.address}:{wish.base + 10 + number}",
                data_plane=wish.data_plane,
                address=sites.Site(number, Path()).address,
            )
        )
    return found


@contextmanager
def running(wish: Wish) -> Iterator[Lab]:
    """A lab, until the block ends; then nothing of it is left."""
    environment.install()
    template.make()
    folder = Path(tempfile.mkdtemp(prefix="intertie-lab-"))
    lab = Lab(folder=folder, wish=wish, regions=plan(wish))
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        if wish.data_plane != "none":
            environment.install_data_plane(wish.data_plane)
            lab.sites = ends.enter_context(sites.running(folder / "sites", wish.regions, wish.data_plane == "ovn"))
            urls = ends.enter_context(database.running(folder / "mariadb", [r.cloud for r in lab.regions]))
            lab.regions = [replace(r, database=urls[r.cloud]) for r in lab.regions]
        if wish.data_plane in WITH_AGENTS:
            names = [r.cloud for r in lab.regions]
            queues = ends.enter_context(broker.running(folder / "broker", wish.address, wish.base + QUEUES, names))
            lab.regions = [replace(r, broker=queues[r.cloud]) for r in lab.regions]
        _start(lab, ends)
        if wish.data_plane in WITH_AGENTS:
            ends.enter_context(switching.running(folder / "switching", lab.sites, lab.regions))
        yield lab


def _start(lab: Lab, ends: ExitStack) -> None:
    wish = lab.wish
    keystones = sorted({region.keystone for region in lab.regions})
    for number in keystones:
        mine = {r.name: r.url for r in lab.regions if r.keystone == number}
        template.copy_keystone(lab.folder / f"keystone-{number}", _keystone_url(lab, number), mine)
    for region in lab.regions:
        template.copy_neutron(lab.folder / f"neutron-{region.number}", region)
    places = [(lab.folder / f"keystone-{n}", wish.base + n) for n in keystones]
    identities = Services("keystone", wish.address, places)
    ends.callback(identities.end)
    lab.pids |= {f"keystone-{n}": pid for n, pid in zip(keystones, identities.pids, strict=True)}
    places = [(lab.folder / f"neutron-{r.number}", wish.base + 10 + r.number) for r in lab.regions]
    networks = Services("neutron", wish.address, places)
    ends.callback(networks.end)
    lab.pids |= {f"neutron-{r.number}": pid for r, pid in zip(lab.regions, networks.pids, strict=True)}
    for number in keystones:
        wait_for(_keystone_url(lab, number))
        lab.tenants[number] = identity.tenants(_keystone_url(lab, number))
    for region in lab.regions:
        wait_for(region.url)
    lab.clouds_yaml.write_text(json.dumps(settings.clouds_yaml(lab.regions), indent=1))  # JSON is YAML
    lab.service_yaml.write_text(json.dumps(settings.clouds_yaml(lab.regions, "intertie", "service"), indent=1))


def _keystone_url(lab: Lab, number: int) -> str:
    return next(r.keystone_url for r in lab.regions if r.keystone == number)
