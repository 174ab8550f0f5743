"""A site's long-lived root key: who the site is.

Made once, at `intertie init`. It signs the site's records and its short-lived TLS certificates
(`certificates`), and nothing else; peers pin its self-signed certificate, as with SSH or WireGuard keys:
there is no authority above a site. Key and certificate lie in one file, DIR/keys/root.pem, so that no crash
leaves one without the other.

ECDSA on P-256 with SHA-256, because that is what every TLS 1.3 stack has (RFC 8446, 9.1). What is signed for
a record is prefixed, so that a record can never be passed off as a certificate or the other way round.

Rotation, later: a record homed at the site and signed by the old root will carry the new root; whoever holds
the pin verifies it with `verify` and pins the new one in its place. `keys/` then holds one file a root
and `load` takes the youngest; nothing else here changes.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from intertie.model.codec import NAME
from intertie.model.errors import Conflict, NotFound, Refused

MAX_ROOT = 4096
"""Octets of a root certificate; ours have about 400."""

_RECORD = b"intertie record 1\x00"
_SHA256 = ec.ECDSA(hashes.SHA256())
# The pin is what makes a root valid, not its dates. Fixed ones spare a site whose clock was wrong when it was
# made; the end is RFC 5280's "no well-defined expiration" (4.1.2.5).
_NOT_BEFORE = datetime(2020, 1, 1, tzinfo=UTC)
_NOT_AFTER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
BAD_CERTIFICATE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.AttributeNotFound,
)
"""What reading a hostile certificate may raise."""


@dataclass(frozen=True, slots=True)
class Root:
    """The public half: what a peer pins.

    The same when name and key are: one key has many certificates, since its signature over itself can be
    written in more than one way by anybody.
    """

    name: str
    der: bytes = field(repr=False, compare=False)
    fingerprint: str
    public_key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)
    not_after: datetime = field(repr=False, compare=False)
    """As its certificate says; the pin is what counts, and ours say never."""

    @property
    def point(self) -> bytes:
        """The public key as a compressed point, 33 octets (SEC 1, 2.3.3)."""
        return self.public_key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


class RootKey:
    """The private half: signs for its site."""

    def __init__(self, root: Root, key: ec.EllipticCurvePrivateKey) -> None:
        self.root = root
        self._key = key

    @property
    def name(self) -> str:
        return self.root.name

    def sign(self, raw: bytes) -> bytes:
        """The signature of a record's bytes (ECDSA-Sig-Value in DER, RFC 3279, about 71 octets)."""
        return self._key.sign(_RECORD + raw, _SHA256)

    def secret(self, purpose: str) -> bytes:
        """A key for that one purpose: nobody without the site's root key can tell it (HKDF, RFC 5869)."""
        number = self._key.private_numbers().private_value.to_bytes(32, "big")
        derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=f"intertie {purpose}".encode())
        return derivation.derive(number)

    def certify(self, builder: x509.CertificateBuilder) -> x509.Certificate:
        """`builder` as a certificate issued by this root."""
        key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.root.public_key)
        issued = builder.issuer_name(_subject(self.name)).add_extension(key_id, critical=False)
        return issued.sign(self._key, hashes.SHA256())


def create(state: Path, name: str) -> RootKey:
    """Make the root key of site `name` in `state`/keys. Raises Conflict if there is one, and leaves it alone."""
    if not NAME.fullmatch(name):
        raise Refused(
            f"{name!r} cannot name a site", hint="1 to 63 of a-z, 0-9 and -, which is neither first nor last"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, name)
    pem = key.private_bytes(
        Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(Encoding.PEM)
    path = _path(state)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    try:
        _publish(path, pem)
    except FileExistsError as error:
        raise Conflict(f"{path} exists: this site has its root key", code="name-taken") from error
    return RootKey(parse_root(certificate.public_bytes(Encoding.DER)), key)


def load(state: Path) -> RootKey:
    """The root key in `state`/keys. Raises NotFound, or Refused if it is damaged or others can read it."""
    path = _path(state)
    try:
        mode = path.stat().st_mode
        pem = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"no root key at {path}", hint="intertie init makes one") from error
    if mode & 0o077:
        raise Refused(f"{path} can be read by others", hint=f"chmod 600 {path}, if you trust who could")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    except (ValueError, TypeError) as error:
        raise Refused(f"{path} is damaged: {error}", hint="put it back from a backup") from error
    root = parse_root(der)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != root.public_key:
        raise Refused(f"{path}: key and certificate do not belong together", hint="put it back from a backup")
    return RootKey(root, key)


@lru_cache(maxsize=1024)
def parse_root(der: bytes) -> Root:
    """A root certificate, checked as far as it can speak for itself: P-256, self-signed, a CA, a site's name.

    Raises Refused(invalid). Whether it is the right one only a pin can tell.
    """
    if len(der) > MAX_ROOT:
        raise Refused(f"a root certificate of {len(der)} octets is too large", code="too-large")
    try:
        certificate = x509.load_der_x509_certificate(der)
        key = certificate.public_key()
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        ends = certificate.not_valid_after_utc
        subject = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except BAD_CERTIFICATE as error:
        raise Refused(f"not a root certificate: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise Refused("a root key must be ECDSA P-256")
    name = subject[0].value if len(subject) == 1 else b""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Refused("the root certificate names no site")
    if not constraints.ca or not signed_by(certificate, key):
        raise Refused(f"the certificate of {name} is not a self-signed root")
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Root(name, der, sha256(spki).hexdigest(), key, ends)


def fingerprint(root_der: bytes) -> str:
    """SHA-256 of the root's SubjectPublicKeyInfo, hex. Raises Refused for what is no root."""
    return parse_root(root_der).fingerprint


def verify(root_der: bytes, raw: bytes, signature: bytes) -> bool:
    """Whether the owner of this root signed the record `raw`. Parsed roots are cached."""
    try:
        parse_root(root_der).public_key.verify(signature, _RECORD + raw, _SHA256)
    except (Refused, InvalidSignature):
        return False
    return True


def signed_by(certificate: x509.Certificate, key: ec.EllipticCurvePublicKey) -> bool:
    """Whether `key` signed this certificate, with ECDSA and SHA-256 and nothing weaker."""
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        return False
    try:
        key.verify(certificate.signature, certificate.tbs_certificate_bytes, _SHA256)
    except InvalidSignature:
        return False
    return True


def key_from_point(point: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a compressed point. Raises Refused(invalid) if it is not on the curve."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError as error:
        raise Refused(f"not a public key: {error}") from error


def _path(state: Path) -> Path:
    return state / "keys" / "root.pem"


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _self_signed(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    public = key.public_key()
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .issuer_name(_subject(name))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )


def _publish(path: Path, content: bytes) -> None:
    """Write a new file whole or not at all, durably; FileExistsError if it is there already."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # A hard link, because unlike rename(2) it never replaces what is there.
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
