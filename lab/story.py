"""What the lab shows by itself: an L2 and an L3 Vpn between the first two regions, with machines that ping.

Everything is made through the clouds' and the agents' APIs, and removed again; what Neutron has at the end must be
what it had before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from intertie.client import Attachment, Terms, VpnKind, VpnRequest, created, deleted
from intertie.model.views import VpnView
from lab import machines
from lab.beside import Beside
from lab.environment import LabError
from lab.machines import Machine
from lab.neutron import Neutron
from lab.place import PATIENCE, Place


@dataclass(slots=True)
class Result:
    """In the shape of the demo's last line."""

    sites: list[dict[str, str]] = field(default_factory=list)
    vpns: list[dict[str, Any]] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    ok: bool = False

    def document(self) -> dict[str, Any]:
        return asdict(self)


class Story:
    """Two regions' play. `say` hears each step."""

    def __init__(self, agents: Sequence[Beside], say: Callable[[str], None]) -> None:
        self.one, self.two = agents[:2]
        self.first, self.second = Place(self.one), Place(self.two)
        self.result = Result(sites=[{"name": each.name, "url": each.url} for each in agents])
        self._say = say

    def tell(self) -> Result:
        """All of it. LabError, or an error of the tree, at the step that failed."""
        with ExitStack() as ends, _told(self._say):
            with self._step("networks and machines in both clouds"):
                blue = self.first.network("blue", "10.20.0.0/24", ends)
                green = self.second.network("green", "10.30.0.0/24", ends, gateway_ip="10.30.0.254")
                a, b = self.first.boot(blue, "a", ends), self.second.boot(green, "b", ends)
            self._stretch(a)
            self._route(a, b)
        with self._step("nothing is left"):
            self._check_clean()
        self.result.ok = all(pair["ok"] for vpn in self.result.vpns for pair in vpn["pairs"])
        return self.result

    def _stretch(self, a: Machine) -> None:
        wish = (Attachment(site=self.one.name, network="blue"), Attachment(site=self.two.name))
        with self._vpn("stretch", VpnKind.L2, wish) as vpn:
            (made,) = self.second.cloud.list("network", name="blue")
            with ExitStack() as ends:
                with self._step("a machine on the stretched network"):
                    c = self.second.boot(made, "c", ends)
                with self._step("pings within it"):
                    vpn["pairs"] = self._pairs(a, c, vpn["mtu"])

    def _route(self, a: Machine, b: Machine) -> None:
        wish = (Attachment(site=self.one.name, network="blue"), Attachment(site=self.two.name, network="green"))
        with self._vpn("routed", VpnKind.L3, wish) as vpn, self._step("pings between them"):
            vpn["pairs"] = self._pairs(a, b, min(vpn["mtu"], a.mtu, b.mtu))

    # ── Pieces ─────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._say(name)
        began = time.monotonic()
        yield
        self.result.steps.append({"name": name, "ms": round((time.monotonic() - began) * 1000)})

    @contextmanager
    def _vpn(self, name: str, kind: VpnKind, attachments: tuple[Attachment, ...]) -> Iterator[dict[str, Any]]:
        """A Vpn while the block runs, and its line of the result."""
        began, times = time.monotonic(), {"accepted_ms": 0, "ready_ms": 0}

        def follow(words: str) -> None:
            self._say(f"  {words}")
            if "accepted_ms" in times and words.count("accepted") == len(attachments):
                times["accepted_ms"] = times["accepted_ms"] or round((time.monotonic() - began) * 1000)

        with self._step(f"the {kind.value} Vpn {name}"):
            wish = VpnRequest(name=name, kind=kind, attachments=attachments)
            seen = created(self.one.tenant, wish, Terms(wait=PATIENCE), say=follow).checked()
            times["ready_ms"] = round((time.monotonic() - began) * 1000)
        assert isinstance(seen.value, VpnView)
        facts = {"id": seen.value.id, "name": name, "kind": kind.value, "transport": seen.value.transport}
        told = {**facts, "mtu": seen.value.mtu, **times, "pairs": []}
        self.result.vpns.append(told)
        yield told
        with self._step(f"{name} is taken away"):
            now = self.one.tenant.vpns.get(seen.value.id)
            deleted(self.one.tenant, now, force=False, terms=Terms(wait=PATIENCE))

    def _pairs(self, a: Machine, b: Machine, mtu: int) -> list[dict[str, Any]]:
        found = []
        for one, other in ((a, b), (b, a)):
            waited = machines.reaches(one, other.address, PATIENCE)
            whole = machines.ping(one, other.address, count=2, size=mtu - 28)
            ok = whole == 2 and machines.ping(one, other.address, count=3) == 3
            ends = {
                key: {"site": m.site.name, "host": m.name, "address": m.address}
                for key, m in (("from", one), ("to", other))
            }
            found.append({**ends, "first_ms": round(waited * 1000), "mtu": mtu, "ok": ok})
        return found

    def _check_clean(self) -> None:
        end = time.monotonic() + PATIENCE
        for place in (self.first, self.second):
            while left := _left(place.cloud):
                if time.monotonic() > end:
                    raise LabError(f"{place.agent.name} still has {', '.join(left)}")
                time.sleep(0.3)


@contextmanager
def _told(say: Callable[[str], None]) -> Iterator[None]:
    """What went wrong is said before what is taken away because of it fails as well."""
    try:
        yield
    except Exception as error:
        say(f"failed: {error}")
        raise


def _left(cloud: Neutron) -> list[str]:
    networks = [f"network {each['name']} ({each['description']})" for each in cloud.list("network")]
    ports = [f"port {each['id']} of {each['device_owner']}" for each in cloud.list("port")]
    return networks + ports
