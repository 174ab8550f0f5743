"""What is made of Neutron's answers, good and bad: the requests are caught where they would leave the process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from keystoneauth1 import exceptions

from intertie.drivers.openstack.neutron import Bgpvpn, Net, Subnet
from intertie.drivers.openstack.sdk import SdkNeutron
from intertie.model.bodies import Range
from intertie.model.errors import Conflict, Forbidden, IntertieError, NotFound, Refused, Unavailable

NET = {"id": "n1", "name": "blue", "project_id": "p1", "mtu": 1400, "description": "intertie nantes x 10.0.0.0/24"}
SUBNET = {
    "id": "s1",
    "network_id": "n1",
    "cidr": "10.0.0.0/24",
    "gateway_ip": "10.0.0.1",
    "allocation_pools": [{"start": "10.0.0.9", "end": "10.0.0.10"}],
    "enable_dhcp": True,
}
PORT = {"id": "p1", "network_id": "n1", "mac_address": "02:00:00:00:00:01", "fixed_ips": [{"ip_address": "10.0.0.9"}]}


@dataclass(slots=True)
class Reply:
    """As `requests` has it."""

    status_code: int
    text: str = ""

    @property
    def content(self) -> bytes:
        return self.text.encode()

    def json(self) -> Any:
        return json.loads(self.text)


def told(status: int = 200, /, **body: object) -> Reply:
    return Reply(status, json.dumps(body))


def problem(status: int, words: str) -> Reply:
    return told(status, NeutronError={"type": "X", "message": words, "detail": ""})


@dataclass(slots=True)
class Wire:
    """Gives the answers in their order; the last again and again."""

    answers: list[Reply | Exception]
    asked: list[tuple[str, str]] = field(default_factory=list)
    params: list[Mapping[str, str]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    def request(self, path: str, method: str, **more: Any) -> Reply:
        assert more["raise_exc"] is False
        self.asked.append((method, path))
        self.params.append(dict(more["params"] or {}))
        self.headers.append(more["headers"])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def neutron(*answers: Reply | Exception) -> tuple[SdkNeutron, Wire]:
    wire = Wire(list(answers))
    return SdkNeutron("west", wire, lambda: "req-7"), wire


# ── Lists ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_list_is_read_page_by_page() -> None:
    more = [{"rel": "next", "href": "…"}]
    west, wire = neutron(
        told(networks=[NET], networks_links=more), told(networks=[{**NET, "id": "n2"}], networks_links=[])
    )
    assert [net.id for net in await west.networks()] == ["n1", "n2"]
    assert wire.params == [{}, {"marker": "n1"}]
    assert wire.headers[0] == {"X-Openstack-Request-Id": "req-7"}


@pytest.mark.parametrize(
    "second",
    [
        Reply(500, ""),
        problem(404, "marker n1 could not be found"),
        told(nets=[]),
        told(networks=[NET], networks_links=[{"rel": "next"}]),
        told(networks="none"),
        told(networks=[7]),
        Reply(200, "<html>welcome</html>"),
        Reply(200, "[]"),
        exceptions.ConnectTimeout("timed out"),
    ],
    ids=["500", "marker gone", "no list", "no end", "text", "numbers", "html", "array", "silent"],
)
async def test_a_list_that_breaks_off_is_none(second: Reply | Exception) -> None:
    west, _ = neutron(told(networks=[NET], networks_links=[{"rel": "next"}]), second)
    with pytest.raises(Unavailable) as refused:
        await west.networks()
    assert refused.value.code == "cloud-silent"
    assert "west" in refused.value.detail


@pytest.mark.parametrize("damage", [{"mtu": "many"}, {"name": 7, "mtu": [1]}, {"project_id": 3, "mtu": "x"}])
async def test_a_network_that_cannot_be_read_stops_no_other(damage: dict[str, object]) -> None:
    west, _ = neutron(told(networks=[{**NET, **damage}, {**NET, "id": "n2"}, {"name": "no id"}]))
    odd, good = await west.networks()
    assert (odd.id, good.id, good.flaw) == ("n1", "n2", "")
    assert odd.flaw
    west, _ = neutron(told(networks=[{"id": "n3"}]))
    assert [net.flaw for net in await west.networks()] == ["it has no name"]


@pytest.mark.parametrize("damage", [{"cidr": "10.0.0.0/99"}, {"allocation_pools": [{}]}, {"gateway_ip": "x"}])
async def test_a_subnet_that_cannot_be_read_stops_no_other(damage: dict[str, object]) -> None:
    west, _ = neutron(told(subnets=[{**SUBNET, **damage}, {**SUBNET, "id": "s2"}]))
    odd, good = await west.subnets()
    assert (odd.network, bool(odd.flaw), good.flaw) == ("n1", True, "")
    assert good == Subnet(
        id="s2",
        network="n1",
        prefix=ip_network("10.0.0.0/24"),
        gateway=ip_address("10.0.0.1"),
        pools=(Range(first=ip_address("10.0.0.9"), last=ip_address("10.0.0.10")),),
    )


async def test_of_a_port_that_cannot_be_read_it_is_known_that_it_is_there() -> None:
    odd = {"id": "p9", "network_id": "n1", "fixed_ips": [{"ip_address": "?"}, 7, {"ip_address": "10.0.0.7"}]}
    west, _ = neutron(told(ports=[PORT, odd]))
    first, second = await west.ports(network="n1")
    assert (second.id, second.network) == ("p9", "n1")
    assert second.addresses == {ip_address("10.0.0.7")}
    assert first.addresses == {ip_address("10.0.0.9")}


# ── Answers ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        (problem(409, "Quota exceeded for resources: ['network']."), Refused, "quota"),
        (problem(409, "network is in use"), Conflict, "in-use"),
        (problem(400, "Invalid input"), Refused, "invalid"),
        (problem(403, "disallowed by policy"), Forbidden, "forbidden"),
        (problem(404, "project not found"), NotFound, "not-found"),
        (problem(429, "slow down"), Unavailable, "cloud-silent"),
        (problem(500, "internal server error"), Unavailable, "cloud-silent"),
        (Reply(503, "<html>busy</html>"), Unavailable, "cloud-silent"),
        (Reply(201, ""), Unavailable, "cloud-silent"),
        (exceptions.ConnectFailure("refused"), Unavailable, "cloud-silent"),
        (exceptions.UnknownConnectionError("cut off", OSError()), Unavailable, "cloud-silent"),
        (exceptions.EndpointNotFound("network service in nowhere region not found"), Unavailable, "cloud-silent"),
        (exceptions.Unauthorized("wrong password"), Forbidden, "forbidden"),
    ],
    ids=lambda value: getattr(value, "text", value.__class__.__name__)[-40:] if not isinstance(value, str) else value,
)
async def test_a_creation_is_asked_for_once_whatever_comes_of_it(
    reply: Reply | Exception, kind: type[IntertieError], code: str
) -> None:
    west, wire = neutron(reply)
    with pytest.raises(kind) as refused:
        await west.create_network(Net(name="blue", project="p1", mtu=1400))
    assert refused.value.code == code
    assert "west" in refused.value.detail
    assert wire.asked == [("POST", "/networks")]


@pytest.mark.parametrize("bad", [Reply(503), Reply(502), exceptions.ConnectTimeout("timed out")])
async def test_what_may_be_done_twice_is_tried_twice(bad: Reply | Exception) -> None:
    west, wire = neutron(bad, told(networks=[NET]))
    assert len(await west.networks()) == 1
    west, wire = neutron(bad, Reply(204))
    await west.delete_network("n1")
    assert wire.asked == [("DELETE", "/networks/n1")] * 2
    west, wire = neutron(bad, Reply(404))
    await west.delete_network("n1")  # the first one did it
    west, wire = neutron(bad, told(subnet=SUBNET))
    (subnet,) = await neutron(told(subnets=[SUBNET]))[0].subnets()
    assert await west.update_subnet(subnet) == subnet


async def test_twice_is_enough() -> None:
    west, wire = neutron(Reply(503))
    with pytest.raises(Unavailable):
        await west.networks()
    assert len(wire.asked) == 2


async def test_an_association_that_was_not_answered_counts_once_it_is_seen() -> None:
    bgpvpn = Bgpvpn(id="b1", name="x", project="p1", layer="l2", route_targets=frozenset({"64512:1"}))
    there = {"id": "b1", "project_id": "p1", "type": "l2", "networks": ["n1"]}
    west, _ = neutron(problem(400, "already associated"), told(bgpvpns=[there]))
    await west.associate(bgpvpn, network="n1")
    west, _ = neutron(problem(400, "another project's"), told(bgpvpns=[{**there, "networks": ["n2"]}]))
    with pytest.raises(Refused, match="another project"):
        await west.associate(bgpvpn, network="n1")


async def test_rights_that_are_missing_are_named() -> None:
    west, _ = neutron(problem(403, "rule:create_port:binding:host_id is disallowed by policy"))
    with pytest.raises(Forbidden, match="binding:host_id") as refused:
        await west.delete_port("p1")
    assert "may not DELETE ports" in refused.value.hint
