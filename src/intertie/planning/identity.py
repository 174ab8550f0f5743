"""Names and addresses derived from others, the same way at every site."""

from __future__ import annotations

from hashlib import sha256

from intertie.model.records import Kind


def bridge_name(network: str) -> str:
    """The Linux bridge of a network that we make (IFNAMSIZ leaves 15 characters)."""
    return "ib" + sha256(network.encode()).hexdigest()[:10]


def segment_mac(site: str, vpn: str) -> str:
    """MAC of a site's segment device. The high first octets (unicast, locally administered) keep a bridge that
    takes the lowest MAC of its ports from taking this one, also among the fe:… that hypervisors use for the same."""
    digest = sha256(f"{site} {vpn}".encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (0xFE, 0xFF, *digest[:4]))


def made_network(site: str, vpn: str) -> str:
    """Id of the network that `site` makes for an L2 Vpn in which it names none. Of the whole id of the Vpn: another
    home may take the same ulid, and must not get this Vpn's network by it."""
    return f"{_made_prefix(site)}{sha256(vpn.encode()).hexdigest()[:26]}"


def is_made(site: str, network: str) -> bool:
    """Whether that is the id of a network that the site made for an L2 Vpn: its addresses are shared out, and the
    cloud gives none before it is told which are this site's."""
    return network.startswith(_made_prefix(site))


def _made_prefix(site: str) -> str:
    return f"{site}.net-"


def answer_id(site: str, vpn: str) -> str:
    return f"{site}.{Kind.ANSWER.value}.{vpn}"


def site_id(site: str) -> str:
    return f"{site}.site"


def introduction_id(site: str, peer: str) -> str:
    return f"{site}.introduction.{peer}"


def forgotten_id(site: str, peer: str, incarnation: int) -> str:
    return f"{site}.forgotten.{peer}.{incarnation}"


def grant_id(site: str, space: str, to: str, first: int) -> str:
    return f"{site}.grant.{space}.{to}.{first}"
