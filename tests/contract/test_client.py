"""The typed client and the real API: whatever an agent says is read, and every method is understood."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from intertie import client
from intertie.client import Attachment, Client, Place, Terms, VpnKind, VpnRequest
from intertie.model.errors import Conflict, Forbidden, IntertieError, NotFound, Refused, Unauthenticated
from intertie.model.views import Health, Phase
from tests.contract.api_rig import Rig
from tests.contract.api_served import served


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.close()


@pytest.fixture(scope="module")
def url(rig: Rig) -> Iterator[str]:
    with served(rig) as found:
        yield found


@pytest.fixture
def site(rig: Rig, url: str) -> Iterator[Client]:
    with Client(Place(url=url, token=rig.token)) as found:
        yield found


def l2(name: str, network: str) -> VpnRequest:
    members = (Attachment(site="nantes", network=network), Attachment(site="lyon"))
    return VpnRequest(name=name, kind=VpnKind.L2, attachments=members)


def test_what_a_site_shows_is_read(site: Client) -> None:
    here = site.site().value
    assert (here.name, here.transports["vxlan"].ok) == ("nantes", True)
    assert [(peer.name, peer.state) for peer in site.peers.list()] == [("lyon", "up")]
    assert site.peers.get("lyon").value.fingerprint
    assert [(each.peer, each.ours) for each in site.peers.mappings()] == [("lyon", "demo")]
    assert {n.name for n in site.networks.list()} >= {"blue", "idle", "west"}
    assert [h.name for h in site.hosts.list()] == ["h"]
    assert {v.name: (v.kind, v.phase) for v in site.vpns.list()}["stretch"] == ("l2", Phase.READY)
    assert site.plan().value.changes == ()
    assert site.collect(plan=True).value.changes == ()
    assert "vpns.json" in site.bundle().value.files
    assert site.ready()
    assert {token.role for token in site.tokens.list()} >= {"admin", "reader"}


def test_a_vpn_from_its_wish_to_its_end(site: Client) -> None:
    net = site.networks.create("green", "10.40.0.0/24,fd40::/64").value
    plan = site.vpns.plan_create(l2("green", "green"))
    assert {change.site for change in plan.value.changes} == {"nantes", "lyon"}
    terms = Terms(wait=30, match=plan.value.base_version, key="once")
    made = client.created(site, l2("green", "green"), terms).checked()
    assert made.value.phase is Phase.READY
    assert [(m.site, m.health) for m in made.value.members] == [("nantes", Health.READY), ("lyon", Health.READY)]
    assert site.vpns.create(l2("green", "green"), Terms(key="once")).value.id == made.value.id
    host = site.hosts.create("web", net.id).value
    assert host.addresses[0] in net.prefixes[0]
    assert site.vpns.verify(made.value.id).value.ok
    with pytest.raises(NotFound):
        site.vpns.withdraw(made.value.id, "none")
    renamed = client.updated(site, made, l2("", "green").attachments, "verdant", Terms(wait=30)).checked()
    assert (renamed.value.name, renamed.etag != made.etag) == ("verdant", True)
    with pytest.raises(Conflict) as stale:
        site.vpns.update(made, l2("", "green").attachments, name="late")
    assert (stale.value.code, "intertie" in stale.value.hint or bool(stale.value.detail)) == ("stale", True)
    with pytest.raises(Conflict) as held:
        site.networks.delete(net.id)
    assert held.value.code == "in-use"
    site.hosts.delete(host.id)
    client.deleted(site, renamed, False, Terms(wait=30))
    assert not [v for v in site.vpns.list() if v.name == "verdant"]
    site.networks.delete(site.networks.find("green").id)


def test_what_another_site_is_home_of_is_asked_of_it(site: Client) -> None:
    far = site.vpns.find("far")
    assert far.value.owner == "lyon"
    members = [Attachment(site=m.site, network=m.network) for m in far.value.members]
    renamed = client.updated(site, far, members, "farther", Terms(wait=30)).checked()
    assert renamed.value.name == "farther"
    with pytest.raises(Conflict) as up:
        site.vpns.adopt(renamed)
    assert up.value.code == "owner-up"


def test_errors_are_the_trees_own(rig: Rig, url: str, site: Client) -> None:
    with pytest.raises(NotFound) as missing:
        site.vpns.find("ghost")
    assert missing.value.hint
    told = client.document_of(missing.value)
    assert told is not None
    assert (told.status, told.problem.type) == (404, "/docs#problem-not-found")
    assert told.request_id
    with pytest.raises(Refused) as invalid:
        site.networks.create("UPPER", "10.9.0.0/24")
    document = client.document_of(invalid.value)
    assert document is not None
    assert [each.field for each in document.problem.fields] == ["name"]
    with Client(Place(url=url, token="itk_nobody")) as nobody, pytest.raises(Unauthenticated):
        nobody.site()
    reader = site.tokens.create("demo", "reader", Terms(key="k")).value
    with Client(Place(url=url, token=reader.token)) as reading:
        with pytest.raises(Forbidden):
            reading.networks.create("mine", "10.9.0.0/24")
        site.tokens.revoke(reader.id)
        with pytest.raises(Unauthenticated):
            reading.site()


def test_a_list_is_asked_for_as_far_as_it_is_looked_at(site: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intertie.client.listing.PAGE", 1)
    pages = list(site.networks.list().pages())
    assert [len(page.value) for page in pages] == [1] * len(pages)
    assert len(pages) >= 3
    everything = site.networks.list().all()
    assert everything.told == {"items": [p.told["items"][0] for p in pages], "next": None}  # type: ignore[index, call-overload]
    assert everything.value == tuple(site.networks.list())
    assert len(site.networks.list().first()) == 1


def test_a_request_is_found_again_by_its_name(rig: Rig, url: str) -> None:
    with Client(Place(url=url, token=rig.token), request_id="audit-7") as named:
        assert named.site().request_id == "audit-7"
    with Client(Place(url=url, token=rig.token)) as unnamed:
        assert unnamed.site().request_id not in ("", "audit-7")


def test_events_are_read_and_resumed(site: Client) -> None:
    site.networks.create("seen", "10.41.0.0/24")
    every = next(iter(site.events("0")))
    assert every.event.seq > 0
    assert every.id.endswith(f"-{every.event.seq}")
    after = next(iter(site.events(every.id)))
    assert after.event.seq == every.event.seq + 1
    with pytest.raises(IntertieError) as none:
        next(iter(site.events("not one")))
    assert none.value.code == "invalid"
