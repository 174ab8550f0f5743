"""What a segment is called in the kernel, and the labels by which it is known again.

Nothing is remembered outside the kernel. The device's alias says whose it is; the whole Segment, with the names
that the kernel has no place for, stands in the comments of the filter's `facts` chain. Both are labels: `observe`
believes them only as far as devices, forwarding entries, routes and rules bear them out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256

from intertie.drivers.linux.netns import Netns, netns_name
from intertie.drivers.linux.nft_model import LONGEST_COMMENT, Table
from intertie.model import codec, json_text
from intertie.model.bodies import VpnKind
from intertie.model.items import Segment
from intertie.model.json_text import Malformed

PREFIX = "intertie-vx"
LONGEST_ALIAS = 255
FACTS = "facts"
QUOTES = str.maketrans({'"': "'", "'": '"'})
"""A comment with double quotes in it could be listed by nft(8), but not loaded again from what it listed."""


def device_name(vni: int) -> str:
    return f"vx{vni}"


def table_name(vni: int) -> str:
    return f"{PREFIX}{vni}"


def router_name(site: str, network: str) -> Netns:
    """The namespace that routes a network: one per network, shared by its L3 segments."""
    return netns_name(site, "r", _hash(network))


def router_prefix(site: str) -> str:
    """What the names of all of a site's routers begin with."""
    return netns_name(site, "r") + "-"


def router_port(site: str, network: str) -> str:
    """The router's port on the network's bridge."""
    return f"vr{_hash(site + ' ' + network)}"


def router_mac(site: str, network: str, port: bool) -> str:
    """Of the router's interface, or of its port on the bridge, which must not become the bridge's own."""
    digest = sha256(f"{site} {network} router".encode()).digest()
    return ":".join(f"{octet:02x}" for octet in ((0xFE, 0xFF, *digest[:4]) if port else (0x02, *digest[:5])))


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True, slots=True)
class Alias:
    """Whose device it is."""

    site: str
    kind: VpnKind
    epoch: int
    vpn: str
    network: str


def alias_of(site: str, segment: Segment) -> Alias:
    return Alias(site, segment.kind, segment.epoch, segment.vpn, segment.network)


def alias_text(alias: Alias) -> str:
    """ValueError if a name has white space or the whole is over 255 octets."""
    words = ["intertie", alias.site, alias.kind.value, str(alias.epoch), alias.vpn, alias.network]
    text = " ".join(words)
    if text.split() != words or len(text.encode()) > LONGEST_ALIAS:
        raise ValueError(f"cannot be an alias: {text!r}")
    return text


def parse_alias(text: str) -> Alias | None:
    """None for a device that is not ours."""
    words = text.split(" ")
    if len(words) != 6 or words[0] != "intertie" or words[2] not in ("l2", "l3") or not words[3].isdigit():
        return None
    return Alias(words[1], VpnKind(words[2]), int(words[3]), words[4], words[5])


def facts(site: str, segment: Segment) -> tuple[str, ...]:
    """The segment as lines that fit a rule's comment."""
    text = json.dumps({"site": site, "segment": codec.plain(segment)}, sort_keys=True, separators=(",", ":"))
    text = text.translate(QUOTES)
    return tuple(text[i : i + LONGEST_COMMENT] for i in range(0, len(text), LONGEST_COMMENT))


def parse_facts(table: Table) -> tuple[str, Segment] | None:
    """(site, segment) as the table says; None if it does not."""
    chain = table.chain(FACTS)
    text = "".join(rule.comment for rule in chain.rules) if chain else ""
    try:
        value = json_text.loads(text.translate(QUOTES).encode(), limit=1 << 20)
        return str(value["site"]), codec.read(Segment, value["segment"])
    except (Malformed, KeyError, TypeError):
        return None
