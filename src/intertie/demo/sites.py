"""The demo's sites: where they lie, and their places on the backbone. Pure.

The underlay uses prefixes set aside for documentation (RFC 5737, RFC 3849), so that no one takes them for
addresses of the tenants (RFC 1918, RFC 4193).
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

FEWEST, MOST = 3, 10
PLACES = (
    ("nantes", 47.218, -1.554),
    ("lyon", 45.764, 4.836),
    ("rennes", 48.117, -1.678),
    ("sophia", 43.616, 7.055),
    ("lille", 50.629, 3.057),
    ("grenoble", 45.188, 5.724),
    ("nancy", 48.692, 6.184),
    ("luxembourg", 49.611, 6.130),
    ("toulouse", 43.605, 1.444),
    ("bordeaux", 44.838, -0.579),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSite:
    """One site of the demo: a name, a place on the map, and a point-to-point link to the backbone."""

    index: int
    name: str
    lat: float
    lon: float

    @property
    def underlay(self) -> IPv4Interface:
        """The site's end of its link, a /31 (RFC 3021)."""
        return IPv4Interface((IPv4Address("198.51.100.0") + 2 * self.index + 1, 31))

    @property
    def router(self) -> IPv4Interface:
        """The backbone's end of the same link."""
        return IPv4Interface((IPv4Address("198.51.100.0") + 2 * self.index, 31))

    @property
    def underlay6(self) -> IPv6Interface:
        return IPv6Interface(f"2001:db8:0:{self.index:x}::2/64")

    @property
    def router6(self) -> IPv6Interface:
        return IPv6Interface(f"2001:db8:0:{self.index:x}::1/64")


def chosen(count: int) -> tuple[DemoSite, ...]:
    """The first `count` sites."""
    return tuple(
        DemoSite(index=index, name=name, lat=lat, lon=lon) for index, (name, lat, lon) in enumerate(PLACES[:count])
    )
