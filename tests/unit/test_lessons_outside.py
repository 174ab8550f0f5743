"""What others got wrong, tried from outside: at the API, at the peer port's handler, with real keys and invitations.

`test_lessons.py` tries the same on the rules alone. Each lesson is named by its number, and the last test says that
none is missing.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from intertie.federation.keys import RootKey, create
from intertie.federation.peer_transport import TlsTransport
from intertie.model import wire
from intertie.model.bodies import IntroductionBody
from intertie.model.errors import Forbidden
from intertie.model.records import Cursor, Draft, Kind, Order
from intertie.model.wire import Join, Message
from intertie.planning.identity import introduction_id
from intertie.planning.plausible import flaw
from intertie.testing import federation
from intertie.testing.fake_ports import FakeKeys
from intertie.testing.federation import Site, World
from intertie.wiring import InvitationTokens, PeerCalls, SiteKeys
from tests.fuzz.samples import FOUND, read
from tests.unit.api_lab import DEMO, api_of, is_problem, one_site, virtually, wish
from tests.unit.api_lab import federation as apis_of

LESSONS = {
    "CVE-2026-66785": "any subnet advertised by a spoke was believed",
    "CVE-2026-66786": "a newline in a peer's string reached a config file",
    "CVE-2026-42999": "the policy target came from the request body",
    "CVE-2026-49299": "an unknown policy name meant allowed",
    "GHSA-hmqr-wjmj-376c": "any host's token acted on other hosts",
    "CVE-2026-61699": "revocation recorded but not enforced",
    "CVE-2023-3637": "listing created resources",
    "CVE-2015-3221": "one bad object crashed the agent for all",
}


def certificate_that_is_none() -> bytes:
    """A DER certificate that the library refuses in other words than it declares (found by the fuzzer)."""
    return read(FOUND, "root")[0]


ROOTS = {
    "no base64": "AAAAA",
    "no certificate": b64encode(b"not a certificate").decode(),
    "a certificate that is none": b64encode(certificate_that_is_none()).decode(),
}


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, RootKey]:
    """Sites of a World get real keys and make real invitations: what a stranger sends meets the real parsers."""
    made: dict[str, RootKey] = {}

    def key_of(name: str) -> RootKey:
        if name not in made:
            made[name] = create(tmp_path / name, name)
        return made[name]

    def keys_of(name: str, *_: object) -> SiteKeys:
        return SiteKeys(key_of(name))

    monkeypatch.setattr(federation, "FakeKeys", keys_of)
    monkeypatch.setattr(federation, "FakeInvitations", lambda *_: InvitationTokens(key_of("nantes")))
    return made


# ── CVE-2026-66785 ─────────────────────────────────────────────────────────────────────────────────────────


@virtually
async def test_cve_2026_66785_a_member_that_says_everything_is_its_own_gets_no_route() -> None:
    world, apis = await apis_of("nantes", "lyon")
    await world.net("nantes", "west", "10.0.0.0/24")
    await world.net("lyon", "east", "10.1.0.0/24")
    id = await world.vpn("nantes", "far", "l3", "nantes:west", "lyon:east")
    nantes, lyon = (world.running[n] for n in ("nantes", "lyon"))
    await world.until(lambda: any(s.remotes for s in nantes.segments()))
    standing = lyon.agent.table.answer_record(id, "lyon")
    assert standing is not None
    before = [s.remotes for s in nantes.segments()]
    for prefix in ("0.0.0.0/0", "10.0.0.0/24", "10.0.0.0/8"):
        tree = json.loads(standing.raw)
        tree["body"]["prefixes"] = [prefix]
        tree["header"]["seq"] += 1000
        raw = json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()
        lie = replace(standing, raw=raw, signature=FakeKeys("lyon", world.secrets).sign(raw))
        message = Message(sender="lyon", incarnation=1, boot="b", records=(lie,), held=nantes.agent.table.last())
        await nantes.exchange.handle("lyon", wire.encode(message))
        await world.until(lambda rounds=nantes.rounds.rounds: nantes.rounds.rounds > rounds)  # type: ignore[misc]
        now = {str(p) for s in nantes.segments() for r in s.remotes for p in r.prefixes}
        assert now <= {"10.1.0.0/24"}, prefix
    assert before
    await world.close()
    assert apis


# ── CVE-2026-66786 ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["a\nb", "a\r", "a\u2028b", "a;b", "$(b)", "../b", "a b", "%n", "\x00"])
@virtually
async def test_cve_2026_66786_no_line_of_a_users_gets_anywhere(name: str) -> None:
    world, api = await one_site()
    before = api.site.agent.table.last()
    for path, body in (
        ("/v1/networks", {"name": name, "prefix": "10.0.0.0/24"}),
        ("/v1/networks", {"name": "n", "prefix": "10.0.0.0/24", "bridge": name}),
        ("/v1/hosts", {"name": name, "network": "n"}),
        ("/v1/vpns", {**wish("v", "l2", "nantes:n", "lyon"), "name": name}),
        ("/v1/invitations", {"name": name}),
        ("/v1/tokens", {"project": name, "role": "reader"}),
        ("/v1/peers/lyon/mappings", {"theirs": name, "ours": "demo"}),
    ):
        assert (await api.post(path, body)).status_code == 422, path
    assert api.site.agent.table.last() == before
    await world.close()


# ── CVE-2026-42999 ─────────────────────────────────────────────────────────────────────────────────────────


@virtually
async def test_cve_2026_42999_no_request_says_whose_it_is() -> None:
    world, api = await one_site()
    token = await api.token("member", "demo")
    body = {"name": "n", "prefix": "10.0.0.0/24"}
    is_problem(await api.post("/v1/networks", {**body, "project": "other"}, token), 422, "invalid")
    made = await api.call("POST", "/v1/networks?project=other", body, token, X_Intertie_Project="other")
    assert made.json()["project"] == "demo"
    is_problem(await api.get("/v1/networks/n", await api.token("member", "other")), 404, "not-found")
    await world.close()


# ── CVE-2026-49299 ─────────────────────────────────────────────────────────────────────────────────────────


@virtually
async def test_cve_2026_49299_what_is_not_known_allows_nothing() -> None:
    world, apis = await apis_of("nantes", "lyon")
    nantes = apis["nantes"]
    for may in (["everything"], ["*"], ["L2"], ["l2", "admin"], [""]):
        refused = await nantes.post("/v1/peers/lyon/mappings", {"theirs": "x", "ours": "demo", "may": may})
        is_problem(refused, 422, "invalid")
    for role in ("owner", "ADMIN", "", "*"):
        is_problem(await nantes.post("/v1/tokens", {"project": "demo", "role": role}), 422, "invalid")
    assert {m["theirs"] for m in (await nantes.get("/v1/mappings")).json()["items"]} == {"demo"}
    await world.close()


# ── GHSA-hmqr-wjmj-376c ────────────────────────────────────────────────────────────────────────────────────


@virtually
async def test_ghsa_hmqr_wjmj_376c_a_token_is_good_at_its_own_site_only() -> None:
    world, apis = await apis_of("nantes", "lyon")
    token = await apis["lyon"].token("admin")
    assert (await apis["lyon"].get("/v1/tokens", token)).status_code == 200
    is_problem(await apis["nantes"].get("/v1/tokens", token), 401, "unauthenticated")
    await world.close()


async def joining(world: World, who: str, as_: str, secret: str) -> bytes:
    own = world.running[who].agent.table.get(f"{who}.site")
    assert own is not None
    message = Message(sender=as_, incarnation=1, boot="b", records=(own,), join=Join(name=as_, secret=secret))
    return wire.encode(message)


def test_ghsa_hmqr_wjmj_376c_an_invitation_is_good_for_its_own_site_only(real: dict[str, RootKey]) -> None:
    @virtually
    async def story() -> None:
        world = World()
        nantes, _, rennes = [await world.site(n) for n in ("nantes", "lyon", "rennes")]
        token, _ = await nantes.enrolment.invite("lyon")
        secret = InvitationTokens(real["nantes"]).parse(token).secret
        for as_ in ("rennes", "lyon"):
            with pytest.raises(Forbidden):
                await nantes.exchange.handle(None, await joining(world, "rennes", as_, secret))
        assert "rennes" not in nantes.agent.pins()
        # It is still good for whom it was made.
        await world.running["lyon"].enrolment.join(token)
        assert "lyon" in nantes.agent.pins()
        assert rennes.agent.pins() == {}
        await world.close()

    story()


# ── CVE-2026-61699 ─────────────────────────────────────────────────────────────────────────────────────────


@virtually
async def test_cve_2026_61699_who_was_forgotten_does_not_come_back_with_its_old_invitation() -> None:
    world = World()
    nantes, lyon = await world.site("nantes"), await world.site("lyon")
    token, _ = await nantes.enrolment.invite("lyon")
    await lyon.enrolment.join(token)
    await nantes.enrolment.forget("lyon")
    secret = token.split()[-1]
    with pytest.raises(Forbidden):
        await nantes.exchange.handle(None, await joining(world, "lyon", "lyon", secret))
    said = lyon.exchange.compose("nantes", Cursor())
    with pytest.raises(Forbidden):
        await nantes.exchange.handle("lyon", wire.encode(said))
    assert "lyon" not in nantes.agent.pins()
    await world.close()


@virtually
async def test_cve_2026_61699_a_revoked_token_is_known_no_more() -> None:
    world, api = await one_site()
    made = (await api.post("/v1/tokens", {"project": "demo", "role": "admin"})).json()
    assert (await api.get("/v1/site", made["token"])).status_code == 200
    await api.call("DELETE", f"/v1/tokens/{made['id']}")
    is_problem(await api.get("/v1/site", made["token"]), 401, "unauthenticated")
    await world.close()


# ── CVE-2023-3637 ──────────────────────────────────────────────────────────────────────────────────────────


@virtually
async def test_cve_2023_3637_asking_makes_nothing() -> None:
    """Every GET of the document, for a project that has nothing yet; and a plan of what could be."""
    world, apis = await apis_of("nantes", "lyon")
    api = apis["nantes"]
    await world.net("nantes", "blue", "10.0.0.0/24")
    token = await api.token("member", "fresh")
    paths = (await api.get("/openapi.json", "")).json()["paths"]
    await world.until(lambda: not api.site.agent.poke.is_set())
    agent = api.site.agent
    before = (agent.table.last(), len(agent.table), {k: dict(v) for k, v in agent.local.items()})
    asked = 0
    for path, methods in paths.items():
        if "get" in methods and path != "/v1/events":
            for who in (token, None):
                await api.get(path.replace("{id}", "blue").replace("{name}", "lyon"), who)
                asked += 1
    assert asked > 25
    for plan in (wish("v", "l2", "nantes:blue", "lyon"), wish("v", "l3", "nantes:blue", "lyon:x")):
        await api.call("POST", "/v1/vpns?plan=true", plan)
    assert (agent.table.last(), len(agent.table), {k: dict(v) for k, v in agent.local.items()}) == before
    assert api.site.networks.all(replace(DEMO, project="fresh")) != []  # an admin sees all; nothing was added
    await world.close()


# ── CVE-2015-3221 ──────────────────────────────────────────────────────────────────────────────────────────


async def introduced(real: dict[str, RootKey], root: str) -> tuple[World, Site]:
    """nantes, which accepts whom lyon vouches for; and lyon vouches for mallory with such a root."""
    world = World()
    nantes, lyon = await world.site("nantes"), await world.site("lyon")
    await world.enrol("nantes", "lyon")
    body = IntroductionBody(site="mallory", root=root)
    draft = Draft(kind=Kind.INTRODUCTION, id=introduction_id("lyon", "mallory"), body=body)
    record = SiteKeys(real["lyon"]).seal("lyon", draft, Order(incarnation=1, seq=5000))
    message = Message(sender="lyon", incarnation=1, boot="b", records=(record,), held=nantes.agent.table.last())
    await nantes.exchange.handle("lyon", wire.encode(message))
    assert lyon
    return world, nantes


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_cve_2015_3221_a_root_that_is_none_hides_nobody_else(root: str, real: dict[str, RootKey]) -> None:
    """Whoever is introduced with it: the other peers are listed, talked to and forgotten as before."""

    @virtually
    async def story() -> None:
        world, nantes = await introduced(real, root)
        api = api_of(nantes)
        listed = await api.get("/v1/peers")
        assert listed.status_code == 200, listed.text
        assert "lyon" in {p["name"] for p in listed.json()["items"]}
        assert (await api.get("/metrics", "")).status_code == 200
        await world.net("nantes", "blue", "10.0.0.0/24")
        await world.running["lyon"].enrolment.map("nantes", "demo", "demo")
        await world.vpn("nantes", "blue", "l2", "nantes:blue", "lyon")
        assert (await api.call("DELETE", "/v1/peers/lyon")).status_code == 204
        await world.close()

    story()


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_cve_2015_3221_a_pin_that_is_none_keeps_the_others(root: str, tmp_path: Path) -> None:
    """Found by the fuzzer: for one, the whole table of pins was refused, and the agent ended, at each start again."""
    lyon = create(tmp_path / "lyon", "lyon")
    transport = TlsTransport(create(tmp_path / "nantes", "nantes"), lambda: datetime.now(UTC))
    calls = PeerCalls(transport, tmp_path / "pins.json")
    calls.trust({"mallory": root, "lyon": b64encode(lyon.root.der).decode()})
    assert set(transport._trust._pins) == {"lyon"}
    again = PeerCalls(transport, tmp_path / "pins.json")
    assert {body.site for body in again.kept()} == {"lyon", "mallory"}
    transport.close()


def test_cve_2015_3221_a_root_that_cannot_be_decoded_is_not_even_kept() -> None:
    order = Order(incarnation=1, seq=1)
    for root in ("AAAAA", "A===", "AB=C", "====", "AA\n=", "", "é"):
        body = IntroductionBody(site="mallory", root=root)
        header = Draft(kind=Kind.INTRODUCTION, id=introduction_id("lyon", "mallory"), body=body).header("lyon", order)
        assert flaw(header, body), root


@pytest.mark.parametrize("secret", ["", "x", "é", "AAAAA", "\ud83d", "=" * 100])
def test_cve_2015_3221_a_secret_that_is_none_is_a_wrong_one(secret: str, real: dict[str, RootKey]) -> None:
    """Found by reading: a stranger's octets that are no base64 were a fault of ours, with a traceback each."""

    @virtually
    async def story() -> None:
        world = World()
        nantes, _ = await world.site("nantes"), await world.site("lyon")
        await nantes.enrolment.invite("lyon")
        try:
            raw = await joining(world, "lyon", "lyon", secret)
        except UnicodeEncodeError:
            return
        with pytest.raises(Forbidden):
            await nantes.exchange.handle(None, raw)
        await world.close()

    story()


def test_every_lesson_is_a_named_test() -> None:
    """In both files, by its number."""
    here = [name for name in globals() if name.startswith("test_")]
    rules = (Path(__file__).parent / "test_lessons.py").read_text()
    for number in LESSONS:
        assert f"── {number}:" in rules, number
        assert any(name.startswith(f"test_{number.lower().replace('-', '_')}_") for name in here), number
