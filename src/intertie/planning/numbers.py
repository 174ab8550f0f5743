"""VNIs and route targets come from blocks that a site holds (federation rule 15): no vote, no clash.

The first site of a federation holds the whole space; whoever invites grants the joiner a block of its own. What a
site holds is what was granted to it less what it granted on, both by standing Grant records.
"""

from __future__ import annotations

from collections.abc import Collection

from intertie.model.bodies import GrantBody
from intertie.model.errors import Refused
from intertie.model.records import Kind
from intertie.planning.ranges import Span, Spans, size, subtract, union
from intertie.planning.table import Table

VNI = "vni"
VNI_SPACE: Span = (4096, 2**24 - 1)
"""VNIs are 24 bits wide (RFC 7348 section 4); the low ones are left to whoever numbers by hand."""
BLOCK = 2**16
ROUTE_TARGET_AS = 64512
"""A private AS number (RFC 6996): a route target is AS:VNI, unique because the VNI is (RFC 4360 section 4)."""


def holding(table: Table, site: str) -> Spans:
    """What `site` holds of the VNI space now."""
    grants = [(r.home, b) for r, b in table.bodies(Kind.GRANT, GrantBody) if b.space == VNI and b.first <= b.last]
    got = union((b.first, b.last) for home, b in grants if b.to == site)
    return subtract(got, ((b.first, b.last) for home, b in grants if home == site and b.to != site))


def founding(site: str) -> GrantBody:
    """The grant with which a site that belongs to no federation yet starts one."""
    return GrantBody(space=VNI, first=VNI_SPACE[0], last=VNI_SPACE[1], to=site)


def block_for(table: Table, site: str, joiner: str, taken: Collection[int]) -> GrantBody:
    """The block that `site` grants to `joiner`: the upper half of its highest free stretch, at most 2^16 numbers."""
    free = subtract(holding(table, site), ((n, n) for n in taken))
    if not free:
        raise Refused(f"{site} holds no VNIs that it could grant to {joiner}", code="quota")
    first, last = max(free, key=lambda s: (s[1] - s[0], s))
    count = min(BLOCK, (last - first + 1) // 2)
    if count < 1:
        raise Refused(f"{site} has too few VNIs left to grant some to {joiner}", code="quota")
    return GrantBody(space=VNI, first=last - count + 1, last=last, to=joiner)


def next_vni(table: Table, site: str, taken: Collection[int]) -> int:
    """The lowest VNI that `site` holds and nobody was seen to use."""
    free = subtract(holding(table, site), ((n, n) for n in taken))
    if size(free) == 0:
        raise Refused(
            f"{site} has no VNI left", code="quota", hint="be invited by a site that holds a block, or delete a Vpn"
        )
    return free[0][0]


def route_target(vni: int) -> str:
    return f"{ROUTE_TARGET_AS}:{vni}"
