"""Netlink messages as they are on the wire."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface
from struct import pack

from hypothesis import given
from hypothesis import strategies as st

from intertie.drivers.linux.rtnl import (
    IFA_ADDRESS,
    IFA_FLAGS,
    IFA_LOCAL,
    IFLA_AF_SPEC,
    IFLA_ALT_IFNAME,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INET6_CONF,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MTU,
    IFLA_PROP_LIST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PRIORITY,
    DefaultRoute,
    HeldAddress,
    Link,
    attribute,
    attributes,
    messages,
    parse_address,
    parse_default_route,
    parse_link,
)

NESTED = 0x8000


def test_a_link_with_nested_attributes() -> None:
    settings = pack("=27i", *([0] * 26), 1)
    body = (
        pack("=BxHiII", 0, 1, 7, 1, 0)
        + attribute(IFLA_IFNAME, b"br0\0")
        + attribute(IFLA_MTU, pack("=I", 9216))
        + attribute(IFLA_IFALIAS, "râteau\0".encode())
        + attribute(IFLA_LINKINFO | NESTED, attribute(IFLA_INFO_KIND, b"bridge") + attribute(IFLA_INFO_DATA, b"abcd"))
        + attribute(IFLA_AF_SPEC, attribute(10, attribute(IFLA_INET6_CONF, settings)))
        + attribute(IFLA_PROP_LIST | NESTED, b"".join(attribute(IFLA_ALT_IFNAME, name) for name in (b"x\0", b"yy\0")))
    )
    assert parse_link(body) == Link(
        index=7,
        name="br0",
        kind="bridge",
        up=True,
        mtu=9216,
        alias="râteau",
        altnames=("x", "yy"),
        ipv6=False,
        info=b"abcd",
    )


def test_an_address_is_the_local_one_and_knows_whether_it_was_given() -> None:
    peer = attribute(IFA_ADDRESS, ip_address("10.0.0.2").packed) + attribute(IFA_LOCAL, ip_address("10.0.0.1").packed)
    body = pack("=BBBBI", 2, 24, 0x80, 0, 3) + peer
    given_ = HeldAddress(index=3, interface=ip_interface("10.0.0.1/24"), scope=0, permanent=True)
    assert parse_address(body) == given_
    learnt = pack("=BBBBI", 10, 64, 0x80, 0, 3) + attribute(IFA_ADDRESS, ip_address("fd00::1").packed)
    assert not parse_address(learnt + attribute(IFA_FLAGS, pack("=I", 0x100))).permanent


def test_only_default_routes_through_a_gateway_count() -> None:
    way = attribute(RTA_OIF, pack("=I", 2)) + attribute(RTA_GATEWAY, ip_address("10.0.0.1").packed)
    default = pack("=BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0)
    route = DefaultRoute(index=2, gateway=ip_address("10.0.0.1"), protocol=4, metric=100)
    assert parse_default_route(default + way + attribute(RTA_PRIORITY, pack("=I", 100))) == route
    assert parse_default_route(pack("=BBBBBBBBI", 2, 24, 0, 0, 254, 4, 0, 1, 0) + way) is None
    assert parse_default_route(default + attribute(RTA_OIF, pack("=I", 2))) is None


@given(st.lists(st.tuples(st.integers(1, 100), st.binary(max_size=20))))
def test_attributes_are_read_as_written(said: list[tuple[int, bytes]]) -> None:
    assert list(attributes(b"".join(attribute(kind, value) for kind, value in said))) == said


@given(st.binary(max_size=200))
def test_whatever_comes_reading_ends(data: bytes) -> None:
    for _, _, body in messages(data):
        list(attributes(body))
