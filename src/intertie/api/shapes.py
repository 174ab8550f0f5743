"""What requests bring: thin dataclasses, strict. A field that is not known is an error, not a surprise later.

The answers need none: `model.views` is their shape. Only one thing about them is JSON's: a name
that Python keeps for itself (`from`) ends with an underscore there and without one here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints

from intertie.model.bodies import Address, Attachment, Prefix, Require, VpnKind
from intertie.model.errors import Refused
from intertie.model.views import PairView, VerifiedPair, VpnRequest

STRICT = ConfigDict(extra="forbid")
NAME = r"^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$"

Name = Annotated[str, StringConstraints(pattern=NAME), Field(description="A DNS label.", examples=["blue"])]
Reference = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,160}$"), Field(description="A name or an id.")
]
Bridge = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$")]
Text = Annotated[str, StringConstraints(max_length=64)]


def without_underscore(name: str) -> str:
    return name.rstrip("_")


for _cls in (PairView, VerifiedPair):
    # Where pydantic looks for the configuration of a dataclass that is not its own.
    setattr(_cls, "__pydantic_config__", ConfigDict(alias_generator=without_underscore))  # noqa: B010


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachmentWish:
    """Where a Vpn is to reach: a network of a site."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    site: Name
    cell: Text | None = None
    network: Reference | None = None
    """Left out for an L2 member that is to make its own."""

    def attachment(self) -> Attachment:
        return Attachment(site=self.site, cell=self.cell or "", network=self.network or "")


Attachments = Annotated[
    tuple[AttachmentWish, ...],
    Field(
        max_length=1000,
        description="One a member site. In an L2 Vpn the first names the network that is stretched.",
        examples=[[{"site": "nantes", "network": "blue"}, {"site": "lyon"}]],
        # The use case says it better than the parser would.
        json_schema_extra={"minItems": 2},
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class VpnWish:
    """A Vpn to be made."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    name: Name
    kind: VpnKind
    attachments: Attachments
    transport: Text | None = None
    require: Require = Require.ALL

    def request(self) -> VpnRequest:
        return VpnRequest(
            name=self.name,
            kind=self.kind,
            attachments=tuple(a.attachment() for a in self.attachments),
            transport=self.transport or "",
            require=self.require,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VpnChange:
    """A Vpn as it shall be: its name ("" or left out: as it is), and the whole list of members."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    name: Name | Literal[""] | None = None
    attachments: Attachments

    def members(self) -> tuple[Attachment, ...]:
        return tuple(a.attachment() for a in self.attachments)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkWish:
    """A network to be made in this site's cloud; with `bridge` (admin), on a Linux bridge that is there."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    name: Name
    prefix: Annotated[
        str,
        StringConstraints(max_length=1000),
        Field(description="One prefix, or several with commas.", examples=["10.0.0.0/24,fd00:10::/64"]),
    ] = ""
    prefixes: Annotated[tuple[Text, ...], Field(max_length=16)] = ()
    bridge: Bridge | Literal[""] | None = None
    mtu: int | None = None

    def all_prefixes(self) -> tuple[Prefix, ...]:
        return tuple(_prefix(p.strip()) for p in (*self.prefix.split(","), *self.prefixes) if p.strip())


def _prefix(text: str) -> Prefix:
    try:
        return ip_network(text)
    except ValueError as error:
        raise Refused(f"{error}", hint="a prefix is like 10.20.0.0/24 or 2001:db8::/64") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostWish:
    """A host to be made; without `addresses` it gets one of each IP version from what the site holds."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    name: Name
    network: Reference
    addresses: Annotated[tuple[Text, ...], Field(max_length=16, examples=[[]])] = ()

    def all_addresses(self) -> tuple[Address, ...]:
        return addresses_of(self.addresses)


def addresses_of(texts: Sequence[str]) -> tuple[Address, ...]:
    try:
        return tuple(ip_address(text) for text in texts)
    except ValueError as error:
        raise Refused(f"addresses: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvitationWish:
    """Who is to be let in."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    name: Name
    expires_in: Annotated[float, Field(gt=0, le=86400, description="Seconds, at most a day.", examples=[3600])] = (
        86400.0
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinWish:
    """An invitation, as the other site's operator gave it."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    token: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingWish:
    """`theirs` of the peer acts as `ours` here. An empty `may` takes it back."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    theirs: Name
    ours: Name
    may: Annotated[tuple[Text, ...], Field(max_length=8, examples=[["l2", "l3", "read"]])] = ("l2", "l3", "read")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWish:
    """Whom a token is for."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    project: Name
    role: Literal["reader", "member", "admin"]
