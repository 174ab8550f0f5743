"""What a record may say at all, whoever says it: bounds, names, address families, space within space.

Checked when a peer's record is heard, so that what nobody honest says is not believed; and before this site writes
a Vpn of its own, so that nobody has reason not to take it. Nothing here looks at other records.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from ipaddress import ip_network

from intertie.model.bodies import (
    Address,
    AnswerBody,
    Attachment,
    Endpoint,
    ForgottenBody,
    GrantBody,
    IntroductionBody,
    Ledger,
    Prefix,
    ProposalBody,
    Range,
    SiteBody,
    VpnBody,
    VpnKind,
)
from intertie.model.codec import NAME, RECORD_ID, encode
from intertie.model.errors import Reason, Refused
from intertie.model.records import MAX_RECORD, Draft, Header, Kind, Order, State
from intertie.planning import ranges
from intertie.planning.numbers import VNI, VNI_SPACE

MAX_MEMBERS = 64
MAX_NAMED = 128
"""Sites that a record may name, or owe a word."""
MAX_PREFIXES = 12
"""Of one member, or of a stretched network."""
MAX_ENDPOINTS = 8
ROOM = 4096
"""Octets of a Vpn's record that are left for later versions of it."""
MTU = (1280, 9216)
"""RFC 8200 section 5, and what switches carry."""
LAST_VNI = 2**24 - 1
SHORTEST = {4: 8, 6: 16}
"""Prefixes shorter than this are routes to everywhere, in halves or in quarters."""
NOBODYS: tuple[Prefix, ...] = tuple(
    ip_network(p)
    for p in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/8", "fe80::/10", "ff00::/8")
)
"""Unspecified, loopback, link-local, multicast and reserved (RFC 6890; RFC 4291 section 2.4)."""

_LABEL = re.compile(r"[a-z0-9-]{1,40}")
_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_CALLED_AT = re.compile(r"(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252}):([0-9]{1,5})")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_ROUTE_TARGET = re.compile(r"[0-9]{1,10}:[0-9]{1,10}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def flaw(header: Header, body: object) -> str | None:
    """What is wrong with a record of a kind that travels; None if it may be."""
    return next(_flaws(header, body), None)


def _flaws(header: Header, body: object) -> Iterator[str]:
    if len(header.names) > MAX_NAMED or len(header.owes) > MAX_NAMED:
        yield f"it names more than {MAX_NAMED} sites"
    if header.state is State.CLOSING and header.kind is not Kind.VPN:
        yield f"a {header.kind.value} does not close"
    match body:
        case VpnBody():
            yield from _vpn(header, body)
        case AnswerBody():
            yield from _answer(body)
        case ProposalBody():
            yield from _proposal(body)
        case SiteBody():
            yield from _site(body)
        case IntroductionBody():
            yield from _named(body.site, "site")
            yield from _root(body.root)
            yield from _called_at(body.address)
            yield from _between(body.incarnation, 0, 2**62, "incarnation")
        case ForgottenBody():
            yield from _named(body.site, "site")
            yield from _between(body.incarnation, 0, 2**62, "incarnation")
        case GrantBody():
            yield from _grant(body)


def tellable(network: str) -> bool:
    """Whether other sites take that for a network's name."""
    return _NETWORK.fullmatch(network) is not None


def fits(site: str, draft: Draft) -> bool:
    """Whether a draft's record would have room, also for a refusal that is yet to be noted in it."""
    order = Order(draft.epoch, draft.adopter, 2**31, 2**62)
    header = Header(
        kind=draft.kind, id=draft.id, home=site, order=order, state=draft.state, names=draft.names, owes=draft.owes
    )
    try:
        return len(encode(header, draft.body)) <= MAX_RECORD - ROOM
    except Refused:
        return False


# ── Parts ──────────────────────────────────────────────────────────────────────────────────────────────────


def _named(text: str, what: str) -> Iterator[str]:
    if not NAME.fullmatch(text):
        yield f"{what} {text!r:.40} is not a name"


def _spelt(pattern: re.Pattern[str], text: str, what: str) -> Iterator[str]:
    if not pattern.fullmatch(text):
        yield f"{what} {text!r:.40} is not one"


def _between(number: float, low: float, high: float, what: str) -> Iterator[str]:
    if not low <= number <= high:
        yield f"{what} {number} is not within {low} to {high}"


def _root(text: str) -> Iterator[str]:
    yield from _spelt(_BASE64, text, "root")


def _called_at(text: str) -> Iterator[str]:
    found = _CALLED_AT.fullmatch(text)
    if text and (found is None or not 0 < int(found[1]) < 65536):
        yield f"{text!r:.40} is not host:port"


def _reason(reason: Reason | None) -> Iterator[str]:
    if reason is not None:
        yield from _spelt(_LABEL, reason.code, "code")


def usable_prefix(prefix: Prefix) -> bool:
    """Whether a tenant's network may have it: not a default route nor a large part of one, not set aside."""
    apart = not any(prefix.version == n.version and prefix.overlaps(n) for n in NOBODYS)
    return apart and prefix.prefixlen >= SHORTEST[prefix.version]


def unicast(address: Address) -> bool:
    """Whether packets can be sent to it across an underlay."""
    return not any(address.version == n.version and address in n for n in NOBODYS)


def _prefixes(prefixes: tuple[Prefix, ...], what: str) -> Iterator[str]:
    if len(prefixes) > MAX_PREFIXES:
        yield f"{what} has more than {MAX_PREFIXES} prefixes"
    for i, prefix in enumerate(prefixes):
        if not usable_prefix(prefix):
            yield f"{prefix} of {what} is not a prefix that a network may have"
        if any(prefix.version == p.version and prefix.overlaps(p) for p in prefixes[:i]):
            yield f"{prefix} of {what} is given twice"


def _ranges(given: Iterable[Range], what: str) -> Iterator[str]:
    for r in given:
        if r.first.version != r.last.version or int(r.first) > int(r.last):
            yield f"{r.first}–{r.last} of {what} is no range"


# ── Kinds ──────────────────────────────────────────────────────────────────────────────────────────────────


def _vpn(header: Header, body: VpnBody) -> Iterator[str]:
    for text, what in ((body.name, "name"), (body.project, "project")):
        yield from _named(text, what)
    yield from _spelt(_LABEL, body.transport, "transport")
    yield from _spelt(_ROUTE_TARGET, body.route_target, "route target")
    yield from _between(body.vni, 1, LAST_VNI, "VNI")
    yield from _between(body.mtu, *MTU, "MTU")
    yield from _reason(body.refusal)
    yield from _attachments(body.attachments, 1)
    if set(header.names) != {a.site for a in body.attachments}:
        yield "it names other sites than its members"
    if body.kind is VpnKind.L2:
        yield from _named(body.network, "network")
        yield from _prefixes(body.prefixes, "the network")
        if not body.prefixes or any(a.prefixes for a in body.attachments):
            yield "an L2 Vpn has the prefixes of one network, its members none"
        yield from _shares(body)
    elif body.prefixes or body.shares or body.network:
        yield "an L3 Vpn has no network of its own"
    elif any(a.agreed and not a.prefixes for a in body.attachments):
        yield "a member of an L3 Vpn has agreed to no prefix"


def _attachments(attachments: tuple[Attachment, ...], least: int) -> Iterator[str]:
    yield from _between(len(attachments), least, MAX_MEMBERS, "number of members")
    sites = [a.site for a in attachments]
    if len(set(sites)) != len(sites):
        yield "a member is named twice"
    for a in attachments:
        yield from _named(a.site, "site")
        if a.cell:
            yield from _named(a.cell, "cell")
        if a.network:
            yield from _spelt(_NETWORK, a.network, "network")
        yield from _prefixes(a.prefixes, a.site)


def _shares(body: VpnBody) -> Iterator[str]:
    if sorted(s.site for s in body.shares) != sorted(a.site for a in body.attachments):
        yield "each member has one share, and nobody else"
    given: list[tuple[int, int, int]] = []
    for share in body.shares:
        yield from _ranges(share.ranges, share.site)
        for r in share.ranges:
            inside = [p for p in body.prefixes if r.first.version == p.version and r.first in p and r.last in p]
            if not inside:
                yield f"{r.first}–{r.last} of {share.site} is in no prefix of the network"
            given.append((r.first.version, int(r.first), int(r.last)))
        if not all(sum(g in p for g in share.gateways if g.version == p.version) == 1 for p in body.prefixes):
            yield f"{share.site} has one gateway in each prefix"
        if len(share.gateways) != len(body.prefixes) or not all(
            ranges.within(g, share.ranges) for g in share.gateways
        ):
            yield f"a gateway of {share.site} is not in its share"
    for (v, _, last), (w, first, _) in zip(sorted(given), sorted(given)[1:], strict=False):
        if v == w and first <= last:
            yield "shares overlap"


def _answer(body: AnswerBody) -> Iterator[str]:
    yield from _spelt(RECORD_ID, body.vpn, "id")
    yield from _spelt(_DIGEST, body.digest, "digest")
    yield from _reason(body.reason)
    yield from _reason(body.failed)
    for text in (body.network, body.network_name):
        if text:
            yield from _spelt(_NETWORK, text, "network")
    if body.project:
        yield from _named(body.project, "project")
    yield from _prefixes(body.prefixes, "the answer")
    yield from _ranges(body.ranges, "the answer")
    yield from _ledger(body.ledger)
    yield from _between(len(body.free), 0, MAX_PREFIXES, "number of counts")
    for count in body.free:
        yield from _between(count, 0, 2**31, "free addresses")
    if body.asks:
        yield from _named(body.asks, "site")
    yield from _between(body.ports, 0, 2**31, "ports")
    yield from _between(body.mtu, 0, 2**16, "MTU")
    yield from _between(len(body.gateways), 0, 2 * MAX_PREFIXES, "number of gateways")
    yield from _between(len(body.endpoints), 0, MAX_ENDPOINTS, "number of endpoints")
    for endpoint in body.endpoints:
        yield from _endpoint(endpoint)


def _ledger(ledger: Ledger) -> Iterator[str]:
    for given in (ledger.got, ledger.given, *(g.ranges for g in ledger.gifts), *(a.ranges for a in ledger.awaited)):
        yield from _ranges(given, "the ledger")
    for by, number in ((g.by, g.number) for some in (ledger.gifts, ledger.taken) for g in some):
        yield from _named(by, "site")
        yield from _between(number, 0, 2**62, "number of a gift")
    for site in (*(g.to for g in ledger.gifts), *(s for a in ledger.awaited for s in (a.site, *a.members))):
        yield from _named(site, "site")
    for count in (ledger.number, ledger.stay, *(g.stay for g in ledger.gifts)):
        yield from _between(count, 0, 2**62, "count")


def _endpoint(endpoint: Endpoint) -> Iterator[str]:
    if not unicast(endpoint.address):
        yield f"{endpoint.address} is no address that packets can be sent to"
    yield from _between(endpoint.port, 1, 65535, "port")
    if endpoint.mac and (not _MAC.fullmatch(endpoint.mac) or int(endpoint.mac[:2], 16) & 1):
        yield f"MAC {endpoint.mac!r:.40} is no station's"


def _proposal(body: ProposalBody) -> Iterator[str]:
    yield from _spelt(RECORD_ID, body.vpn, "id")
    if body.name:
        yield from _named(body.name, "name")
    if body.project:
        yield from _named(body.project, "project")
    yield from _attachments(body.attachments, 0)


def _site(body: SiteBody) -> Iterator[str]:
    yield from _named(body.name, "name")
    yield from _root(body.root)
    yield from _called_at(body.address)
    for name, what in ((body.cloud, "cloud"), (body.cell, "cell")):
        if name:
            yield from _named(name, what)
    if body.location is not None:
        yield from _between(body.location.lat, -90, 90, "latitude")
        yield from _between(body.location.lon, -180, 180, "longitude")
    yield from _between(len(body.underlay), 0, MAX_ENDPOINTS, "number of addresses")
    yield from _between(len(body.transports), 0, 16, "number of transports")
    for facts in body.transports:
        yield from _spelt(_LABEL, facts.name, "transport")
        yield from _between(facts.overhead, 0, 1024, "overhead")
        yield from _between(facts.underlay_mtu, 0, 2**16, "MTU")


def _grant(body: GrantBody) -> Iterator[str]:
    yield from _spelt(_LABEL, body.space, "space")
    yield from _named(body.to, "site")
    low, high = VNI_SPACE if body.space == VNI else (0, 2**62)
    if not low <= body.first <= body.last <= high:
        yield f"{body.first} to {body.last} is no block of {body.space}"
