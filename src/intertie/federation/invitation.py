"""Invitations: how a site that nobody knows yet is let in, once.

The inviter makes a token and keeps only a hash of its secret. The token carries what the joiner needs to
recognise the inviter by itself: its address and its root's public key. So the joiner verifies the very first
TLS connection before it sends the secret, and no third party vouches for either.

    itj1. base64url( version | inviter | invited | address | public key | secret | checksum )
          names and address: one octet of length, then ASCII · key: 33 octets · secret: 20 · checksum: 4

The checksum is against slips, not against malice: it tells a token that was cut off from one that was altered
on the way. Whoever stores an `Invitation` removes it in the transaction that pins the joiner: that makes the
token serve once.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from intertie.federation.keys import Root, key_from_point
from intertie.federation.transport import PeerAddress, parse_address
from intertie.model.codec import NAME
from intertie.model.errors import Forbidden, Refused

PREFIX = "itj1."
LONGEST = timedelta(hours=24)

_VERSION = 1
_KEY, _SECRET, _CHECKSUM = 33, 20, 4
_AGAIN = "copy the whole line that `intertie site invite` printed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """What the inviter keeps: enough to recognise the secret, not to tell it."""

    name: str
    secret_hash: str
    """SHA-256 over a label, the invited name and the secret, hex. 160 random bits need no slow hash."""
    expires_at: datetime

    def admit(self, name: str, secret: bytes, now: datetime) -> None:
        """Raises Forbidden unless `secret` is this invitation's, for this name, in time."""
        right = hmac.compare_digest(self.secret_hash, hash_of(name, secret))
        if not right or name != self.name:
            raise Forbidden("this invitation is not known here", hint="ask for a new one: site invite NAME")
        if now >= self.expires_at:
            raise Forbidden(f"the invitation of {name} ended at {self.expires_at:%F %T} UTC")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What the joiner is given, parsed."""

    inviter: str
    invited: str
    address: str
    """host:port of the inviter's peer port."""
    public_key: bytes
    """The inviter's root key, a compressed P-256 point."""
    secret: bytes = field(repr=False)

    @property
    def peer(self) -> PeerAddress:
        """Whom to call with it."""
        return PeerAddress(name=self.inviter, address=self.address, join_key=self.public_key)

    def encode(self) -> str:
        fields = b"".join(
            bytes([len(text)]) + text.encode("ascii") for text in (self.inviter, self.invited, self.address)
        )
        payload = bytes([_VERSION]) + fields + self.public_key + self.secret
        return PREFIX + _base64(payload + _checksum(payload))


def invite(
    root: Root, name: str, address: str, now: datetime, lifetime: timedelta = LONGEST
) -> tuple[Token, Invitation]:
    """A token for site `name` and what to keep of it. `address`: where peers call this site, host:port.

    Raises Refused for a name that is none, an address that is none, or a lifetime beyond 24 hours.
    """
    if not NAME.fullmatch(name) or name == root.name:
        raise Refused(f"{name!r} cannot be invited: it is no site's name, or this site's own")
    if not timedelta() < lifetime <= LONGEST:
        raise Refused(f"an invitation lasts at most {LONGEST.total_seconds():.0f} s", hint="expires_in")
    parse_address(address)
    secret = secrets.token_bytes(_SECRET)
    token = Token(inviter=root.name, invited=name, address=address, public_key=root.point, secret=secret)
    return token, Invitation(name=name, secret_hash=hash_of(name, secret), expires_at=now + lifetime)


def parse(text: str) -> Token:
    """The token in `text`. White space is ignored: terminals wrap lines. Raises Refused(invalid), with words."""
    text = "".join(text.split())
    if not text.startswith(PREFIX):
        raise Refused(_no_prefix(text), hint=_AGAIN)
    payload = _decode(text.removeprefix(PREFIX))
    fields, end = _fields(payload)
    # The last letter has bits to spare, which no checksum covers: one token is one text.
    if payload[end:] != _checksum(payload[:end]) or PREFIX + _base64(payload) != text:
        raise Refused("the token was altered on the way: its checksum is wrong", hint=_AGAIN)
    inviter, invited, address = (raw.decode("ascii", errors="replace") for raw in fields)
    if not NAME.fullmatch(inviter) or not NAME.fullmatch(invited):
        raise Refused("the token names no site")
    parse_address(address)
    key = payload[end - _SECRET - _KEY : end - _SECRET]
    key_from_point(key)
    secret = payload[end - _SECRET : end]
    return Token(inviter=inviter, invited=invited, address=address, public_key=key, secret=secret)


def _no_prefix(text: str) -> str:
    if text == "" or PREFIX.startswith(text):
        return "the token is cut off"
    if re.match(r"itj\d+\.", text):
        return "the token is of another version than this one reads"
    return f"not an invitation token: one begins with {PREFIX}"


def _decode(text: str) -> bytes:
    """base64url without padding. Raises Refused."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise Refused("the token has characters that no token has", hint=_AGAIN)
    if len(text) % 4 == 1:
        raise Refused("the token is cut off", hint=_AGAIN)
    try:
        payload = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error as error:
        raise Refused(f"the token was altered on the way: {error}", hint=_AGAIN) from error
    if payload and payload[0] != _VERSION:
        raise Refused("the token was altered on the way: it has no version", hint=_AGAIN)
    return payload


def _fields(payload: bytes) -> tuple[list[bytes], int]:
    """The three strings, and where the checksum begins. Raises Refused unless the length is right."""
    at, fields = 1, []
    for _ in range(3):
        length = payload[at] if at < len(payload) else 0
        fields.append(payload[at + 1 : at + 1 + length])
        at += 1 + length
    end = at + _KEY + _SECRET
    if len(payload) < end + _CHECKSUM:
        raise Refused("the token is cut off", hint=_AGAIN)
    if len(payload) > end + _CHECKSUM:
        raise Refused("the token has more at its end than it should", hint=_AGAIN)
    return fields, end


def hash_of(name: str, secret: bytes) -> str:
    """The hash by which the inviter knows a secret again, hex."""
    return sha256(b"intertie invitation 1\x00" + name.encode() + b"\x00" + secret).hexdigest()


def _checksum(payload: bytes) -> bytes:
    return sha256(b"itj1" + payload).digest()[:_CHECKSUM]


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
