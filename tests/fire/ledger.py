"""What users asked for and what they were told: the measure of everything that stands when the fire is out.

An answer of 2xx is a promise; any other answer promises that nothing of it will be there. A request without an answer
leaves a doubt, which its site settles when it can be asked again, and then for good.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx

from tests.fire.rig import FireRig, answered

PROJECT = "demo"


def _on_its_way(answer: httpx.Response) -> bool:
    """The home was asked and did not answer in time. What is withdrawn then may reach it first: nobody can know."""
    return answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and answer.json()["code"] == "owner-silent"


@dataclass(slots=True)
class Vpn:
    """A Vpn that was promised. `members` as last acknowledged."""

    name: str
    home: str
    kind: str
    id: str
    vni: int
    network: str
    members: frozenset[str]
    ending: str = ""
    """`told`: its deletion was acknowledged; `asked`: perhaps it ends."""


@dataclass(slots=True)
class Host:
    site: str
    name: str
    network: str
    addresses: frozenset[str]
    project: str = PROJECT


@dataclass(slots=True)
class Ledger:
    """Drives the API, one request at a time, and keeps what came back."""

    rig: FireRig
    vpns: dict[str, Vpn] = field(default_factory=dict)
    hosts: dict[tuple[str, str], Host] = field(default_factory=dict)
    networks: dict[tuple[str, str], str] = field(default_factory=dict)
    """(site, name) → prefix."""
    doubts: set[tuple[str, str, str]] = field(default_factory=set)
    """(what, site, name): asked for, or to be deleted, and never answered."""
    pending: set[str] = field(default_factory=set)
    """Vpns of which a change is in doubt: asked for at another site than the home, or never answered."""
    ended: set[str] = field(default_factory=set)
    """Ids of Vpns that are gone for good."""
    refused: list[str] = field(default_factory=list)
    """What was refused, in the words of the refusal."""
    faults: list[str] = field(default_factory=list)
    """Answers that no request may get."""

    @classmethod
    def of(cls, rig: FireRig) -> Ledger:
        """All that the rig's topology made counts as promised."""
        ledger = cls(rig)
        for network in rig.topology.networks:
            ledger.networks[network.site, network.name] = network.prefix
        for wish in rig.topology.vpns:
            ledger._vpn(rig[wish.home].vpn(wish.name), wish.attachments[0].partition(":")[2])
        for host in rig.topology.hosts:
            ledger._host(host.site, rig[host.site].hosts[host.name])
        return ledger

    def ask(self, site: str, method: str, path: str, body: object = None, **how: Any) -> httpx.Response | None:
        answer = answered(self.rig[site], method, path, body, **how)
        if answer is not None and answer.status_code >= 500 and answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            self.faults.append(f"{site}: {method} {path}: {answer.status_code} {answer.text[:300]}")
        if answer is not None and not answer.is_success:
            self.refused.append(f"{site}: {method} {path}: {answer.json().get('code')}")
        return answer

    # ── Asking ─────────────────────────────────────────────────────────────────────────────────────────────

    def create_network(self, site: str, name: str, prefix: str) -> bool:
        answer = self.ask(site, "POST", "/v1/networks", {"name": name, "prefix": prefix})
        if answer is None:
            self.doubts.add(("networks", site, name))
        elif answer.is_success:
            self.networks[site, name] = prefix
        return answer is not None and answer.is_success

    def delete_network(self, site: str, name: str) -> bool:
        answer = self.ask(site, "DELETE", f"/v1/networks/{name}")
        if answer is None:
            self.doubts.add(("networks", site, name))
        elif answer.is_success:
            self.networks.pop((site, name), None)
        return answer is not None and answer.is_success

    def create_host(self, site: str, name: str, network: str) -> bool:
        answer = self.ask(site, "POST", "/v1/hosts", {"name": name, "network": network})
        if answer is None:
            self.doubts.add(("hosts", site, name))
        elif answer.is_success:
            self._host(site, answer.json())
        return answer is not None and answer.is_success

    def _host(self, site: str, told: Any) -> None:
        found = Host(site, told["name"], told["network"], frozenset(told["addresses"]), told["project"])
        self.hosts[site, found.name] = found
        self.rig[site].hosts[found.name] = told

    def delete_host(self, site: str, name: str) -> bool:
        answer = self.ask(site, "DELETE", f"/v1/hosts/{name}")
        if answer is None:
            self.doubts.add(("hosts", site, name))
        elif answer.is_success:
            self.hosts.pop((site, name), None)
        return answer is not None and answer.is_success

    def create_vpn(self, home: str, name: str, kind: str, ends: dict[str, str], wait: float = 0.0) -> bool:
        """`ends`: member → network ("": to be made there)."""
        attachments = [{"site": s, "network": n} if n else {"site": s} for s, n in ends.items()]
        body = {"name": name, "kind": kind, "attachments": attachments}
        answer = self.ask(home, "POST", "/v1/vpns", body, wait=wait)
        if answer is None:
            self.doubts.add(("vpns", home, name))
        elif answer.is_success:
            self._vpn(answer.json(), ends[home])
        return answer is not None and answer.is_success

    def _vpn(self, told: Any, network: str) -> None:
        members = frozenset(m["site"] for m in told["members"] if not m["leaving"])
        self.vpns[told["name"]] = Vpn(
            told["name"], told["owner"], told["kind"], told["id"], told["vni"], network, members
        )

    def update_vpn(self, at: str, name: str, ends: dict[str, str], wait: float = 0.0) -> httpx.Response | None:
        attachments = [{"site": s, "network": n} if n else {"site": s} for s, n in ends.items()]
        answer = self.ask(at, "PUT", f"/v1/vpns/{name}", {"attachments": attachments}, wait=wait)
        vpn = self.vpns[name]
        if answer is None or answer.status_code == HTTPStatus.ACCEPTED or _on_its_way(answer):
            self.pending.add(name)
        elif answer.is_success:
            vpn.members = frozenset(ends)
        return answer

    def delete_vpn(self, at: str, name: str, wait: float = 0.0) -> httpx.Response | None:
        """A Vpn that ends may take its time: those who hold ports keep it."""
        answer = self.ask(at, "DELETE", f"/v1/vpns/{name}", wait=wait)
        vpn = self.vpns[name]
        if answer is not None and (
            answer.json()["code"] == "in-use" if answer.is_error else at == vpn.home or "pending" not in answer.text
        ):
            vpn.ending = "told"
        elif answer is None or answer.is_success or _on_its_way(answer):
            vpn.ending = vpn.ending or "asked"
        if answer is not None and answer.status_code == HTTPStatus.NO_CONTENT:
            self.ended.add(self.vpns.pop(name).id)
        return answer

    # ── Settling ───────────────────────────────────────────────────────────────────────────────────────────

    def settle(self) -> None:
        """What is in doubt is as the sites say that it is, now: a request may still be on its way."""
        for what, site, name in sorted(self.doubts):
            told = self._told(what, site, name)
            if what == "networks":
                self.networks.pop((site, name), None)
                if told is not None:
                    self.networks[site, name] = ",".join(told["prefixes"])
            elif what == "hosts":
                self.hosts.pop((site, name), None)
                if told is not None:
                    self._host(site, told)
            else:
                self.vpns.pop(name, None)
                if told is not None:
                    self._vpn(told, next(m["network"] for m in told["members"] if m["site"] == site))
        for vpn in list(self.vpns.values()):
            if vpn.ending or vpn.name in self.pending:
                self._look_at(vpn, self._told("vpns", vpn.home, vpn.id))

    def _look_at(self, vpn: Vpn, told: Any) -> None:
        if told is None and vpn.ending:
            self.ended.add(self.vpns.pop(vpn.name).id)
        elif told is not None and vpn.name in self.pending:
            vpn.members = frozenset(m["site"] for m in told["members"] if not m["leaving"])

    def close(self) -> None:
        """All is as it was promised, and from now on it stands: what was in doubt is so no more."""
        self.doubts.clear()
        self.pending.clear()
        for vpn in self.vpns.values():
            if vpn.ending:
                told = self._told("vpns", vpn.home, vpn.id)
                vpn.ending = "told" if told is not None and told["phase"] == "deleting" else ""

    def _told(self, what: str, site: str, name: str) -> Any:
        answer = self.rig[site].call("GET", f"/v1/{what}/{name}", project=PROJECT)
        if answer.status_code == HTTPStatus.NOT_FOUND:
            return None
        assert answer.is_success, answer.text
        return answer.json()

    @property
    def projects(self) -> dict[tuple[str, str], str]:
        return {key: host.project for key, host in self.hosts.items()}
