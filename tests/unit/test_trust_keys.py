"""A site's root key: made once, whole, private; what it signs verifies, and nothing else does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from intertie.federation import keys
from intertie.federation.keys import RootKey, create, fingerprint, load, parse_root, verify
from intertie.model.errors import Conflict, NotFound, Refused


@pytest.fixture(scope="module")
def nantes(tmp_path_factory: pytest.TempPathFactory) -> RootKey:
    return create(tmp_path_factory.mktemp("nantes"), "nantes")


@pytest.fixture(scope="module")
def lyon(tmp_path_factory: pytest.TempPathFactory) -> RootKey:
    return create(tmp_path_factory.mktemp("lyon"), "lyon")


def test_what_is_made_is_loaded_and_private(tmp_path: Path) -> None:
    made = create(tmp_path, "nantes")
    folder, file = tmp_path / "keys", tmp_path / "keys" / "root.pem"
    assert [path.name for path in folder.iterdir()] == ["root.pem"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600
    loaded = load(tmp_path)
    assert loaded.root == made.root
    assert loaded.name == "nantes"
    assert verify(made.root.der, b"record", loaded.sign(b"record"))


def test_a_root_key_is_never_overwritten(tmp_path: Path) -> None:
    first = create(tmp_path, "nantes")
    with pytest.raises(Conflict):
        create(tmp_path, "nantes")
    assert load(tmp_path).root == first.root
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["root.pem"]


def test_a_crash_before_the_end_leaves_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(source: Path, target: Path) -> None:
        assert source.stat().st_mode & 0o777 == 0o600
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("intertie.federation.keys.os.link", crash)
        with pytest.raises(KeyboardInterrupt):
            create(tmp_path, "nantes")
    with pytest.raises(NotFound):
        load(tmp_path)
    create(tmp_path, "nantes")


@pytest.mark.parametrize("name", ["", "Nantes", "a\nb", "-a", "a-", "a.b", "a" * 64, "nantes\n"])
def test_names_that_are_none_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused):
        create(tmp_path, name)
    assert not (tmp_path / "keys").exists()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    create(tmp_path, "nantes")
    (tmp_path / "keys" / "root.pem").chmod(0o640)
    with pytest.raises(Refused, match="read by others"):
        load(tmp_path)


def test_a_damaged_or_mixed_key_file_is_refused(tmp_path: Path) -> None:
    create(tmp_path / "a", "nantes")
    create(tmp_path / "b", "nantes")
    a, b = (tmp_path / side / "keys" / "root.pem" for side in "ab")
    whole, other = a.read_bytes(), b.read_bytes()
    certificate = whole.index(b"-----BEGIN CERTIFICATE")
    a.write_bytes(whole[:certificate] + other[other.index(b"-----BEGIN CERTIFICATE") :])
    with pytest.raises(Refused, match="do not belong together"):
        load(tmp_path / "a")
    for cut in (0, 10, certificate, len(whole) - 40):
        a.write_bytes(whole[:cut])
        with pytest.raises(Refused, match="damaged"):
            load(tmp_path / "a")


def test_a_signature_is_of_these_bytes_by_this_site(nantes: RootKey, lyon: RootKey) -> None:
    signature = nantes.sign(b'{"kind":"vpn"}')
    assert verify(nantes.root.der, b'{"kind":"vpn"}', signature)
    assert not verify(nantes.root.der, b'{"kind":"vpn"} ', signature)
    assert not verify(lyon.root.der, b'{"kind":"vpn"}', signature)
    assert not verify(b"no certificate", b'{"kind":"vpn"}', signature)


@given(raw=st.binary(max_size=300), signature=st.binary(max_size=80))
def test_no_made_up_signature_verifies(nantes: RootKey, raw: bytes, signature: bytes) -> None:
    assert not verify(nantes.root.der, raw, signature)


def test_a_record_signature_is_no_certificate_signature(nantes: RootKey) -> None:
    """Signing a record must never make a certificate, whatever the record says."""
    certificate = x509.load_der_x509_certificate(nantes.root.der)
    assert not verify(nantes.root.der, certificate.tbs_certificate_bytes, certificate.signature)


def test_the_fingerprint_is_that_of_the_key(nantes: RootKey, lyon: RootKey) -> None:
    assert fingerprint(nantes.root.der) == nantes.root.fingerprint
    assert len(nantes.root.fingerprint) == 64
    assert nantes.root.fingerprint != lyon.root.fingerprint


def self_signed(
    curve: ec.EllipticCurve, name: str, ca: bool, signer: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    key = ec.generate_private_key(curve)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = load_dates(
        x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    )
    made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    return made.sign(signer or key, hashes.SHA256()).public_bytes(Encoding.DER)


def load_dates(builder: x509.CertificateBuilder) -> x509.CertificateBuilder:
    return builder.serial_number(7).not_valid_before(keys._NOT_BEFORE).not_valid_after(keys._NOT_AFTER)


def test_only_a_self_signed_p256_authority_that_names_a_site_is_a_root(nantes: RootKey) -> None:
    assert parse_root(self_signed(ec.SECP256R1(), "paris", ca=True)).name == "paris"
    other = ec.generate_private_key(ec.SECP256R1())
    for der, why in [
        (self_signed(ec.SECP384R1(), "paris", ca=True), "P-256"),
        (self_signed(ec.SECP256R1(), "paris", ca=False), "not a self-signed root"),
        (self_signed(ec.SECP256R1(), "paris", ca=True, signer=other), "not a self-signed root"),
        (self_signed(ec.SECP256R1(), "Paris\nplace", ca=True), "names no site"),
        (b"", "not a root certificate"),
        (b"\x30" * 5000, "too large"),
    ]:
        with pytest.raises(Refused, match=why):
            parse_root(der)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_root_with_any_one_bit_changed_is_none_or_the_same_key(nantes: RootKey) -> None:
    """The bit string of a signature may be written in more ways than one; a key and a name may not."""
    same = 0
    for at in range(len(nantes.root.der)):
        for bit in range(8):
            der = bytearray(nantes.root.der)
            der[at] ^= 1 << bit
            with suppress(Refused):
                assert parse_root(bytes(der)) == nantes.root
                same += 1
    assert same <= 7


def test_a_secret_is_the_keys_and_the_purposes_own(tmp_path: Path) -> None:
    key = create(tmp_path, "nantes")
    assert key.secret("marks") == load(tmp_path).secret("marks")
    others = {key.secret("marks"), key.secret("else"), create(tmp_path / "other", "nantes").secret("marks")}
    assert len(others) == 3
    assert all(len(each) == 32 for each in others)
