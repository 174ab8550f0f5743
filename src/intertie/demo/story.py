"""The story: independent sites come to know one another, join their networks, and see packets cross.

Everything here is what people at the sites would do with `intertie` or curl: each line goes through the
public REST API of the site concerned, with that site's own tokens. The Vpns are made at one site only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations

from intertie.demo.abort import NOT_CONVERGED, Abort
from intertie.demo.report import Joined, Progress, Result
from intertie.demo.rest import Json, Rest, Vpn, parse_pair, parse_vpn
from intertie.demo.sites import DemoSite
from intertie.demo.stage import Stage
from intertie.demo.state import KnownHost, SiteAccess

PROJECT = "demo"
MAY = ("l2", "l3", "read")
BLUE = "10.10.0.0/24,fd10:10::/64"
PATIENCE = 60.0
"""Seconds for any one thing to come about."""
_BEAT = 0.1
_VERIFY_PATIENCE = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A site with its operator's and its tenant's access."""

    site: DemoSite
    admin: Rest
    tenant: Rest

    @property
    def name(self) -> str:
        return self.site.name


def routed_prefixes(site: DemoSite) -> str:
    """The prefixes of a site's own network `db`: different at each site, as routing needs."""
    return f"10.20.{site.index + 1}.0/24,fd10:20:{site.index + 1:x}::/64"


class Story:
    """Told once, on a stage whose lab stands. `tell()` fills `result`; Abort says where it stopped."""

    def __init__(self, stage: Stage, result: Result, progress: Progress, transport: str = "") -> None:
        self._stage, self._result, self._progress = stage, result, progress
        self._transport = transport
        self._parties: list[Party] = []
        self._open = ExitStack()

    def tell(self) -> None:
        try:
            self._tell()
        except Abort as abort:
            if abort.problem == "internal":  # what the agent's log says of it will be gone with the stage
                site = next(site for site in self._stage.sites if site.name == abort.site)
                abort.hint = f"{abort.hint}\n{self._stage.last_words(site, 40)}"
            raise

    def _tell(self) -> None:
        with self._open:
            self._bring_up()
            self._enrol()
            self._map_projects()
            self._make_networks()
            self._join("blue", "l2", self._make_stretched_hosts)
            self._join("db", "l3", lambda vpn: None)
            self._verify()
            self._result.finished = True

    # --- agents and people

    def _bring_up(self) -> None:
        with self._progress.step("keys and settings of each site (intertie init)"):
            self._stage.initialise()
        with self._progress.step("agents (intertie agent run)"):
            self._stage.start()
            for site in self._stage.sites:
                self._wait_ready(site)
        with self._progress.step("tokens of operators and tenants (intertie token create)"):
            for site in self._stage.sites:
                self._parties.append(self._tokens(site))

    def _wait_ready(self, site: DemoSite) -> None:
        """The listening socket is open already: the first request waits in its queue for the agent."""

        def silent() -> str:
            return "" if rest.ready(1.0) else self._stage.last_words(site)

        with Rest.at(site.name, self._stage.url(site), "") as rest:
            self._until(f"the agent of {site.name}", silent)

    def _check_agents(self) -> None:
        """Abort with its last words when an agent has ended."""
        for site in self._stage.ended():
            raise Abort(f"the agent of {site.name} has ended", hint=self._stage.last_words(site))

    def _tokens(self, site: DemoSite) -> Party:
        url = self._stage.url(site)
        with Rest.local(site.name, self._stage.directory(site) / "api.sock") as local:
            admin, tenant = (
                str(local.post("/v1/tokens", {"project": PROJECT, "role": role})["token"])
                for role in ("admin", "member")
            )
        self._result.sites.append(SiteAccess(name=site.name, url=url, token=tenant, admin_token=admin))
        return Party(
            site=site,
            admin=self._open.enter_context(Rest.at(site.name, url, admin)),
            tenant=self._open.enter_context(Rest.at(site.name, url, tenant)),
        )

    # --- sites and projects

    def _enrol(self) -> None:
        first, *others = self._parties
        with self._progress.step("enrolment: invite, join, introductions approved"):
            for other in others:
                invitation: Json = {"name": other.name, "expires_in": 3600}
                token = first.admin.post("/v1/invitations", invitation)["token"]
                self._progress.say(f"    {first.name}$ intertie site invite {other.name}")
                self._progress.say(f"    {other.name}$ intertie site join {token[:12]}…")
                other.admin.post("/v1/peers", {"token": token})
            approved: set[tuple[str, str]] = set()
            self._until("every site knows every other", lambda: self._strangers(approved))

    def _strangers(self, approved: set[tuple[str, str]]) -> str:
        """Who does not know whom yet. Each site approves, once, whom others introduce to it; both ends must."""
        missing: list[str] = []
        for party in self._parties:
            states = {peer["name"]: peer["state"] for peer in party.admin.items("/v1/peers")}
            for other in self._parties:
                state = states.get(other.name, "unknown")
                if other is party or state == "up":
                    continue
                missing.append(f"{other.name} is {state} at {party.name}")
                if state == "pending" and (party.name, other.name) not in approved:
                    approved.add((party.name, other.name))
                    self._progress.say(f"    {party.name}$ intertie site approve {other.name}")
                    party.admin.post(f"/v1/peers/{other.name}/approve")
        return ", ".join(missing)

    def _map_projects(self) -> None:
        """Default is deny: each site says which of its projects a peer's project stands for, and what it may."""
        with self._progress.step("project mappings, at each site for each peer"):
            for party in self._parties:
                for peer in self._parties:
                    if peer is party:
                        continue
                    mapping: Json = {"theirs": PROJECT, "ours": PROJECT, "may": MAY}
                    party.admin.post(f"/v1/peers/{peer.name}/mappings", mapping)
                    self._progress.say(f"    {party.name}$ intertie site map {peer.name} {PROJECT} {PROJECT}")

    # --- networks and hosts

    def _make_networks(self) -> None:
        first = self._parties[0]
        with self._progress.step("networks and hosts of each site's own cloud"):
            first.tenant.post("/v1/networks", {"name": "blue", "prefix": BLUE})
            for party in self._parties:
                party.tenant.post("/v1/networks", {"name": "db", "prefix": routed_prefixes(party.site)})
            self._make_host(first, "blue")
            for party in self._parties:
                self._make_host(party, "db")

    def _make_host(self, party: Party, network: str) -> None:
        """A host on `network`, once that is there; the site takes the address from its own range."""

        def attached() -> str:
            names = {each["name"] for each in party.tenant.items("/v1/networks")}
            return "" if network in names else f"no network {network} at {party.name}"

        self._until(f"network {network} at {party.name}", attached)
        name = f"{network}-{party.name}"
        made = party.tenant.post("/v1/hosts", {"name": name, "network": network})
        self._result.hosts.append(KnownHost(name=name, site=party.name, address=made["address"]))

    def _make_stretched_hosts(self, vpn: Vpn) -> None:
        with self._progress.step(f"hosts on the stretched network {vpn.name} at the other sites"):
            for party in self._parties[1:]:
                self._make_host(party, "blue")

    # --- Vpns

    def _join(self, name: str, kind: str, between: Callable[[Vpn], None]) -> None:
        """Make a Vpn at the first site, over all, and see it become ready; `between` runs once accepted."""
        home = self._parties[0]
        where = [party.name for party in self._parties]
        networks = [name if kind == "l3" or party is home else "" for party in self._parties]
        attachments: list[Json] = [
            {"site": site, **({"network": network} if network else {})}
            for site, network in zip(where, networks, strict=True)
        ]
        wish: dict[str, Json] = {"name": name, "kind": kind, "attachments": attachments}
        if self._transport:
            wish["transport"] = self._transport
        start = time.monotonic()
        title = f"{kind.upper()} Vpn {name} over {len(where)} sites"
        with self._progress.step(f"{title}: accepted by every site"):
            joined = Joined(vpn=parse_vpn(home.tenant.post("/v1/vpns", wish, wait=PATIENCE / 2)))
            self._result.vpns.append(joined)
            self._follow(home, joined, lambda vpn: vpn.accepted)
            joined.accepted_ms = round((time.monotonic() - start) * 1000)
        between(joined.vpn)
        with self._progress.step(f"{title}: ready, packets cross between all"):
            self._follow(home, joined, lambda vpn: vpn.ready)
            joined.ready_ms = round((time.monotonic() - start) * 1000)

    def _follow(self, home: Party, joined: Joined, enough: Callable[[Vpn], bool]) -> None:
        def state() -> str:
            joined.vpn = parse_vpn(home.tenant.get(f"/v1/vpns/{joined.vpn.id}"))
            if joined.vpn.phase == "refused":
                reasons = "; ".join(f"{m.site}: {m.reason}" for m in joined.vpn.members if m.reason)
                raise Abort(f"Vpn {joined.vpn.name} is refused: {joined.vpn.reason} {reasons}", code=4)
            return "" if enough(joined.vpn) else joined.vpn.state

        self._until(f"Vpn {joined.vpn.name}", state)

    def _verify(self) -> None:
        home = self._parties[0]
        for joined in self._result.vpns:
            with self._progress.step(
                f"verification of {joined.vpn.name}: every pair of hosts, full-size packets too"
            ):
                until = time.monotonic() + _VERIFY_PATIENCE
                for _ in self._beats(until):
                    self._verify_once(home, joined)
                    if joined.ok:
                        break

    def _verify_once(self, home: Party, joined: Joined) -> None:
        told = home.tenant.post(f"/v1/vpns/{joined.vpn.id}/verify")
        joined.pairs = tuple(parse_pair(pair) for pair in told["pairs"])
        spoken_of = {frozenset((pair.source.host, pair.target.host)) for pair in joined.pairs}
        hosts = [host for host in self._result.hosts if host.name.startswith(f"{joined.vpn.name}-")]
        joined.missing = tuple(
            pair for pair in combinations(hosts, 2) if frozenset(each.name for each in pair) not in spoken_of
        )

    # --- waiting

    def _until(self, what: str, lacks: Callable[[], str]) -> None:
        """Ask until nothing is lacking. Abort (3) with what still is when patience ends."""
        until = time.monotonic() + PATIENCE
        lacking = ""
        for _ in self._beats(until):
            lacking = lacks()
            if not lacking:
                return
            self._progress.doing(f"{what}: {lacking}")
        raise Abort(f"{what}: not in {PATIENCE:g} s: {lacking}", code=NOT_CONVERGED)

    def _beats(self, until: float) -> Iterator[None]:
        """At once, then every `_BEAT` seconds until the time is up; Abort if an agent dies meanwhile."""
        while True:
            yield
            if time.monotonic() > until:
                return
            self._check_agents()
            time.sleep(_BEAT)


def unanswered(result: Result) -> Sequence[str]:
    """One line for each pair that did not answer, and where it breaks."""
    lines: list[str] = []
    for joined in result.vpns:
        for pair in joined.pairs:
            if not pair.ok:
                where = " ".join(part for part in (pair.broken_at, pair.hint) if part)
                lines.append(f"{joined.vpn.name}: {pair.source.host} → {pair.target.host}: {where}")
        lines.extend(f"{joined.vpn.name}: {one.name} → {other.name}: not tried" for one, other in joined.missing)
    return lines
