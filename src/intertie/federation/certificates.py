"""TLS certificates: short-lived, issued by the site's own root, never on disk.

A leaf lives a day and is replaced at half its life, so a stolen one is soon worthless; it is dated back by half a
day. So a clock that is up to half a day slow or fast keeps nobody out, whether it dates a leaf or judges one. A leaf
names its site as a URI (`intertie://nantes`): a name in our own space, which no rule about DNS names or wildcards can
widen.

A verified chain is not yet an identity. `check` asks the one question that counts: did *this* key sign *this*
certificate itself, for *this* name, and is it in force? A leaf that one pinned site issues for another's
name, or an intermediate authority, fails it.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from intertie.federation.keys import BAD_CERTIFICATE, RootKey, signed_by
from intertie.model.codec import NAME
from intertie.model.errors import Forbidden

LIFETIME = timedelta(hours=24)
BACKDATED = LIFETIME / 2
"""How slow the clock of who sees a leaf may be, or how fast that of who made it. That costs nothing: a leaf is no
good without its key, which is made with it, and is not good for longer."""

_SCHEME = "intertie://"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A TLS certificate with its key."""

    pem: bytes = field(repr=False)
    """Private key and certificate."""
    issued_at: datetime
    not_after: datetime

    def stale(self, now: datetime) -> bool:
        """Whether it is time for the next one. Also when the clock was set back to before its issue."""
        return not self.issued_at <= now < self.issued_at + (self.not_after - self.issued_at) / 2


def issue(root: RootKey, now: datetime, lifetime: timedelta = LIFETIME) -> Leaf:
    """A new leaf with a new key, in force from half a day before `now` until `lifetime` after it."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = now.replace(microsecond=0)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    name = x509.UniformResourceIdentifier(_SCHEME + root.name)
    certificate = root.certify(
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, root.name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(both, critical=False)
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Leaf(
        pem=pem + certificate.public_bytes(Encoding.PEM),
        issued_at=now,
        not_after=certificate.not_valid_after_utc,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A certificate that the other end of a connection showed, and holds the key of. Not yet believed."""

    name: str
    certificate: x509.Certificate = field(repr=False)

    @property
    def not_after(self) -> datetime:
        return self.certificate.not_valid_after_utc


def read(der: bytes) -> Shown:
    """Whom a shown certificate names. Raises Forbidden if it is none of ours."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except BAD_CERTIFICATE as error:
        raise Forbidden(f"the certificate is not a site's: {error}") from error
    if len(names) != 1 or len(uris) != 1 or not uris[0].startswith(_SCHEME):
        raise Forbidden("the certificate names no site, or more than one")
    name = uris[0].removeprefix(_SCHEME)
    if constraints.ca or not NAME.fullmatch(name):
        raise Forbidden("the certificate is an authority's, or its name is no site's")
    return Shown(name=name, certificate=certificate)


def check(shown: Shown, name: str, issuer: ec.EllipticCurvePublicKey, now: datetime) -> None:
    """Raises Forbidden unless `issuer` itself signed the certificate, it names `name`, and is in force."""
    if shown.name != name:
        raise Forbidden(f"the certificate is {shown.name}'s, not {name}'s", sites=(name,))
    if not signed_by(shown.certificate, issuer):
        raise Forbidden(f"the certificate names {name}, but {name}'s root did not sign it", sites=(name,))
    if now < shown.certificate.not_valid_before_utc or now > shown.not_after:
        start = shown.certificate.not_valid_before_utc
        raise Forbidden(
            f"the certificate of {name} is in force from {start:%F %T} to {shown.not_after:%F %T} UTC, "
            f"and here it is {now:%F %T}",
            hint="is a clock wrong?",
            sites=(name,),
        )


def server_context(leaf: Leaf, roots: bytes) -> ssl.SSLContext:
    """TLS 1.3 for the called end. A client may show no certificate (to join); one it shows must verify.

    `roots`: the pinned root certificates, DER, one after another.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, roots)
    context.verify_mode = ssl.CERT_OPTIONAL
    # A resumed session would carry an identity past the moment at which it was forgotten.
    context.num_tickets = 0
    _present(context, leaf)
    return context


def client_context(leaf: Leaf, roots: bytes) -> ssl.SSLContext:
    """TLS 1.3 for the calling end of two sites that have pinned each other."""
    context = _context(ssl.PROTOCOL_TLS_CLIENT, roots)
    # Names are URIs and compared by `check`; OpenSSL would look for the DNS name of the address.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    _present(context, leaf)
    return context


def join_context() -> ssl.SSLContext:
    """TLS 1.3 for a join: shows nothing, and leaves the whole verification to `check`.

    All that a joiner has is the inviter's public key, and OpenSSL verifies against certificates only. Whoever
    uses this context must `check` the peer before it sends a byte.
    """
    context = _context(ssl.PROTOCOL_TLS_CLIENT, b"")
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _context(protocol: int, roots: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if roots:
        context.load_verify_locations(cadata=roots)
    return context


def _present(context: ssl.SSLContext, leaf: Leaf) -> None:
    # The module ssl reads keys from files only. A file in memory keeps this one off the disk.
    file = os.memfd_create("leaf")
    try:
        with open(file, "wb", closefd=False) as pem:
            pem.write(leaf.pem)
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
