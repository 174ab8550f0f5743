"""The `linux` cloud's decisions, as an operator would type them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network
from struct import pack
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intertie.drivers.cloud.linux_host import Inside, host_names, parse_host, port_name, render_host, write_host_mark
from intertie.drivers.cloud.linux_network import PORT_MTU, mac, network_mark, parse_network, render_network
from intertie.drivers.linux import marks
from intertie.drivers.linux.netns import Netns
from intertie.drivers.linux.rtnl import IFLA_BR_MCAST_SNOOPING, IFLA_BR_STP_STATE, DefaultRoute, Link, attribute
from intertie.drivers.linux.steps import words
from intertie.model.items import Host, Network

SITE = "nantes"
BLUE = Network(
    id="nantes.net-1",
    name="blue",
    project="red",
    prefixes=(ip_network("10.0.0.0/24"), ip_network("fd00:1::/64")),
    mtu=1450,
    bridge="ib0123456789",
)
OLD = replace(BLUE, id="nantes.net-2", name="old", bridge="br0", own=False)
WEB = Host(
    id="nantes.host-1",
    name="web",
    project="red",
    network=BLUE.id,
    bridge=BLUE.bridge,
    interfaces=(ip_interface("10.0.0.10/24"), ip_interface("fd00:1::a/64")),
    gateways=(ip_address("10.0.0.1"),),
    mtu=1450,
)
NS = Netns("nantes-web")


def quiet(stp: int = 0, snooping: int = 0) -> bytes:
    return attribute(IFLA_BR_STP_STATE, pack("=I", stp)) + attribute(IFLA_BR_MCAST_SNOOPING, pack("=B", snooping))


def made(item: Network) -> Link:
    """The bridge as it is after `render_network`."""
    mark = network_mark(item)
    return Link(
        index=7,
        name=item.bridge,
        kind="bridge",
        up=True,
        mtu=PORT_MTU if item.own else 1500,
        mac=mac(SITE, item.id),
        alias=mark.alias if item.own else "the owner's",
        altnames=("uplink", *mark.altnames),
        ipv6=not item.own,
        info=quiet(),
    )


def port(item: Host, master: int = 7) -> Link:
    mark = write_host_mark(item, NS)
    return Link(
        index=8,
        name=port_name(item.id),
        kind="veth",
        up=True,
        mtu=PORT_MTU,
        alias=mark.alias,
        altnames=mark.altnames,
        master=master,
        ipv6=False,
    )


def inside(item: Host) -> Inside:
    """The namespace as it is after `render_host`."""
    routes = [DefaultRoute(index=2, gateway=gw, protocol=4, metric=100 + n) for n, gw in enumerate(item.gateways)]
    return Inside(mtu=item.mtu, up=True, interfaces=item.interfaces, routes=tuple(routes))


def typed(steps: object) -> str:
    return words(tuple((None, step) for step in steps))  # type: ignore[attr-defined]


def says(text: str) -> str:
    return dedent(text).strip()


# ── Networks ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_network() -> None:
    assert typed(render_network(SITE, BLUE, None)) == says(
        """
        ip link add ib0123456789 address 86:40:23:fd:d6:7d type bridge stp_state 0 mcast_snooping 0
        ip sysctl net/ipv6/conf/ib0123456789/disable_ipv6=1
        ip link set ib0123456789 mtu 9216 alias 'intertie/1 network nantes.net-1 red 1450 10.0.0.0/24,fd00:1::/64 blue' up
        """  # noqa: E501
    )


def test_an_edited_network() -> None:
    assert typed(render_network(SITE, replace(BLUE, mtu=1400), made(BLUE))) == says(
        """
        ip link set ib0123456789 alias 'intertie/1 network nantes.net-1 red 1400 10.0.0.0/24,fd00:1::/64 blue'
        """
    )


def test_a_network_that_somebody_changed_says_so_and_is_mended() -> None:
    hurt = replace(made(BLUE), up=False, mtu=1500, mac="02:00:00:00:00:01", ipv6=True, info=quiet(stp=1, snooping=1))
    seen = parse_network(SITE, hurt)
    assert seen is not None
    assert seen.flaw == (
        "down, MAC 02:00:00:00:00:01, bridge MTU 1500, spanning tree on, multicast snooping on, IPv6 on"
    )
    assert typed(render_network(SITE, BLUE, hurt)) == says(
        """
        ip link set ib0123456789 type bridge stp_state 0 mcast_snooping 0
        ip sysctl net/ipv6/conf/ib0123456789/disable_ipv6=1
        ip link set ib0123456789 mtu 9216 address 86:40:23:fd:d6:7d up
        """
    )


def test_an_existing_bridge_gets_names_only() -> None:
    there = Link(index=3, name="br0", kind="bridge", alias="the owner's", mtu=1500, altnames=("uplink",))
    steps = typed(render_network(SITE, OLD, there))
    assert steps.startswith("ip link property add dev br0 altname it.br0.0.")
    assert all(line.startswith("ip link property add dev br0 ") for line in steps.splitlines())
    renamed = typed(render_network(SITE, replace(OLD, name="older"), made(OLD)))
    assert {line.split(" altname ")[0] for line in renamed.splitlines()} == {
        "ip link property del dev br0",
        "ip link property add dev br0",
    }
    assert "uplink" not in renamed


@pytest.mark.parametrize("item", [BLUE, OLD, replace(BLUE, name="b" * 63, project="p" * 63, id="i" * 90)])
def test_what_is_made_is_read_as_it_was_wished_and_needs_nothing(item: Network) -> None:
    assert parse_network(SITE, made(item)) == item
    assert render_network(SITE, item, made(item)) == ()


def test_sites_and_items_have_macs_of_their_own() -> None:
    macs = {mac(site, f"h{n}") for site in ("nantes", "lyon", "rennes") for n in range(100)}
    assert len(macs) == 300
    assert len({m[:8] for m in macs}) == 3
    assert all(int(m[:2], 16) & 3 == 2 for m in macs)


@given(st.text(min_size=1))
def test_a_host_never_has_the_mac_of_its_port(site: str) -> None:
    """Seen at a site called sophia, whose hosts heard no unicast: a bridge keeps what is for its port's MAC."""
    assert mac(site, "h") != "fe" + mac(site, "h")[2:]
    assert mac("sophia", "h") != "fe" + mac("sophia", "h")[2:]


# ── Hosts ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_host() -> None:
    assert words(render_host(SITE, WEB, NS, made(BLUE), None)) == says(
        """
        ip link add ih5020e53b76 address fe:40:23:50:20:e5 mtu 9216 type veth peer name eth0 netns nantes-web address 86:40:23:50:20:e5 mtu 1450
        ip sysctl net/ipv6/conf/ih5020e53b76/disable_ipv6=1
        ip link set ih5020e53b76 master ib0123456789 alias 'intertie/1 host nantes.host-1 red nantes.net-1 nantes-web web' up
        ip -n nantes-web sysctl net/ipv6/conf/all/accept_dad=0
        ip -n nantes-web sysctl net/ipv6/conf/eth0/accept_dad=0
        ip -n nantes-web sysctl net/ipv4/conf/eth0/promote_secondaries=1
        ip -n nantes-web link set eth0 up
        ip -n nantes-web address add 10.0.0.10/24 dev eth0
        ip -n nantes-web address add fd00:1::a/64 dev eth0 nodad
        ip -n nantes-web route add default via 10.0.0.1 dev eth0 metric 100
        ip -n nantes-web announce 10.0.0.10 fd00:1::a dev eth0
        """  # noqa: E501
    )


def test_a_moved_host_keeps_its_port_and_is_never_without_an_address() -> None:
    moved = replace(WEB, mtu=1400, interfaces=(ip_interface("10.0.0.20/24"),), gateways=(ip_address("10.0.0.254"),))
    assert words(render_host(SITE, moved, NS, made(BLUE), (port(WEB), inside(WEB)))) == says(
        """
        ip -n nantes-web link set eth0 mtu 1400
        ip -n nantes-web address add 10.0.0.20/24 dev eth0
        ip -n nantes-web route del default via 10.0.0.1 dev eth0 metric 100
        ip -n nantes-web route add default via 10.0.0.254 dev eth0 metric 100
        ip -n nantes-web address del 10.0.0.10/24 dev eth0
        ip -n nantes-web address del fd00:1::a/64 dev eth0
        ip -n nantes-web announce 10.0.0.20 dev eth0
        """
    )


def test_a_host_taken_off_its_bridge() -> None:
    loose = replace(port(WEB), master=0, up=False)
    seen = parse_host(loose, "", inside(WEB))
    assert seen is not None
    assert (seen.bridge, seen.flaw) == ("", "port down")
    assert words(render_host(SITE, WEB, NS, made(BLUE), (loose, inside(WEB)))) == says(
        "ip link set ih5020e53b76 master ib0123456789 up"
    )


def test_a_host_whose_namespace_was_removed_is_made_anew() -> None:
    seen = parse_host(port(WEB), BLUE.bridge, None)
    assert seen is not None
    assert (seen.interfaces, seen.mtu, seen.flaw) == ((), 0, "nothing in namespace nantes-web")
    steps = words(render_host(SITE, WEB, NS, made(BLUE), (port(WEB), None))).splitlines()
    assert steps[0] == "ip link del ih5020e53b76"
    assert "\n".join(steps[1:]) == words(render_host(SITE, WEB, NS, made(BLUE), None))


def test_a_port_on_somebody_elses_bridge_changes_neither_its_mtu_nor_its_mac() -> None:
    on_old = replace(WEB, bridge="br0", network=OLD.id)
    first = words(render_host(SITE, on_old, NS, made(OLD), None)).splitlines()[0]
    assert f"address {made(OLD).mac} mtu 1500 type veth" in first, "a bridge takes the lowest of its ports'"


@given(
    have=st.sets(st.integers(2, 250), max_size=4),
    want=st.sets(st.integers(2, 250), max_size=4),
    gateways=st.tuples(st.sets(st.integers(251, 254)), st.sets(st.integers(251, 254))),
)
def test_steps_lead_from_any_sight_to_the_wish(
    have: set[int], want: set[int], gateways: tuple[set[int], set[int]]
) -> None:
    def with_addresses(numbers: set[int], ways: set[int]) -> Host:
        interfaces = tuple(ip_interface(f"{base}{n:x}/{p}") for n in numbers for base, p in (("fd00:1::", 64),))
        return replace(
            WEB,
            interfaces=(*interfaces, *(ip_interface(f"10.0.0.{n}/24") for n in numbers)),
            gateways=tuple(ip_address(f"10.0.0.{n}") for n in ways),
        )

    before, wish = with_addresses(have, gateways[0]), with_addresses(want, gateways[1])
    script = render_host(SITE, wish, NS, made(BLUE), (port(before), inside(before)))
    held = set(map(str, before.interfaces))
    ways = {(str(r.gateway), r.metric) for r in inside(before).routes}
    for line in words(script).splitlines():
        match line.removeprefix("ip -n nantes-web ").split():
            case ["address", "add", interface, *_]:
                assert interface not in held
                held.add(interface)
            case ["address", "del", interface, *_]:
                held.remove(interface)
            case ["route", "add", "default", "via", gateway, "dev", _, "metric", metric]:
                assert int(metric) not in {m for _, m in ways}
                ways.add((gateway, int(metric)))
            case ["route", "del", "default", "via", gateway, "dev", _, "metric", metric]:
                ways.remove((gateway, int(metric)))
    assert held == set(map(str, wish.interfaces))
    assert {gateway for gateway, _ in ways} == set(map(str, wish.gateways))
    assert render_host(SITE, wish, NS, made(BLUE), (port(wish), inside(wish))) == ()


def test_namespace_names_are_readable_and_have_second_choices() -> None:
    first, second, third = host_names(SITE, WEB)
    assert (first, second) == ("nantes-web", "nantes-web-red")
    assert third.startswith("nantes-web-ih")


# ── Marks ──────────────────────────────────────────────────────────────────────────────────────────────────


@given(st.lists(st.text(max_size=80), min_size=1, max_size=6), st.booleans())
def test_marks_are_read_as_written(said: list[str], alias: bool) -> None:
    mark = marks.write("br.10", said, alias=alias)
    assert len(mark.alias.encode()) <= marks.ALIAS
    assert all(len(name) <= 127 and not set(name) & set(" /:") for name in mark.altnames)
    assert marks.read(mark.alias, ("other", *reversed(mark.altnames))) == tuple(said)
    assert bool(mark.alias) != bool(mark.altnames)


def test_what_is_no_mark_is_none() -> None:
    assert marks.read("", ()) is None
    assert marks.read("uplink to rack 3", ("it.br0.zero.x",)) is None
    whole = marks.write("br0", ("network", "x" * 100), alias=False).altnames
    assert marks.read("", whole[1:]) is None
    assert parse_network(SITE, replace(made(BLUE), alias="intertie/1 network i p many 10.0.0.0/24 n")) is None
    assert parse_network(SITE, replace(made(BLUE), alias="intertie/1 network i p 1450 10.0.0.1/24 n")) is None
    assert parse_network(SITE, replace(made(BLUE), kind="veth")) is None
