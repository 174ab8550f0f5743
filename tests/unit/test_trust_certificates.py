"""Leaves and pins: a verified chain is not an identity; the table of pins as it is now is what counts."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from intertie.federation import certificates
from intertie.federation.certificates import issue
from intertie.federation.keys import RootKey, create
from intertie.federation.transport import Caller, PeerAddress
from intertie.federation.trust import Trust
from intertie.model.errors import Forbidden

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RootKey]:
    return {name: create(tmp_path_factory.mktemp(name), name) for name in ("nantes", "lyon", "rennes")}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def trust(roots: dict[str, RootKey], clock: Clock) -> Trust:
    """What nantes trusts."""
    trust = Trust(roots["nantes"], clock)
    trust.replace({name: roots[name].root.der for name in ("lyon", "rennes")})
    return trust


def der(root: RootKey, at: datetime = NOW) -> bytes:
    return x509.load_pem_x509_certificate(issue(root, at).pem).public_bytes(Encoding.DER)


def forged(root: RootKey, *names: x509.GeneralName, ca: bool = False) -> bytes:
    """A certificate by that root with whatever names."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, root.name)]))
        .public_key(key)
        .serial_number(7)
        .not_valid_before(NOW - HOUR)
        .not_valid_after(NOW + HOUR)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    return root.certify(builder).public_bytes(Encoding.DER)


def uri(text: str) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(text)


def test_a_leaf_says_who_it_is(trust: Trust, roots: dict[str, RootKey]) -> None:
    identity = trust.identify(der(roots["lyon"]))
    assert identity.caller == Caller(name="lyon", fingerprint=roots["lyon"].root.fingerprint)
    assert identity.until == NOW + timedelta(hours=24)
    assert trust.holds(identity)


def test_only_a_sites_own_root_speaks_for_its_name(trust: Trust, roots: dict[str, RootKey]) -> None:
    """rennes is pinned, and still cannot make a certificate for lyon."""
    with pytest.raises(Forbidden, match="lyon's root did not sign it"):
        trust.identify(forged(roots["rennes"], uri("intertie://lyon")))


def test_what_names_no_site_or_several_is_nobody(trust: Trust, roots: dict[str, RootKey]) -> None:
    lyon = roots["lyon"]
    assert trust.identify(forged(lyon, uri("intertie://lyon"))).caller.name == "lyon"
    for shown in [
        forged(lyon),
        forged(lyon, x509.DNSName("lyon")),
        forged(lyon, uri("https://lyon")),
        forged(lyon, uri("intertie://lyon/x")),
        forged(lyon, uri("intertie://lyon"), uri("intertie://rennes")),
        forged(lyon, uri("intertie://lyon"), x509.DNSName("rennes")),
        forged(lyon, uri("intertie://lyon"), ca=True),
        lyon.root.der,
        b"",
        b"\x30\x03junk",
    ]:
        with pytest.raises(Forbidden):
            trust.identify(shown)


def test_a_clock_that_is_half_a_day_slow_or_fast_keeps_nobody_out(trust: Trust, roots: dict[str, RootKey]) -> None:
    """Also one that makes its last use of a leaf, which is replaced at half its life."""
    for skew in (-23.9, -11.9, -0.1, 0.1, 11.9):
        trust.identify(der(roots["lyon"], NOW + timedelta(hours=skew)))


def test_before_and_after_its_time_a_leaf_is_nothing(trust: Trust, roots: dict[str, RootKey]) -> None:
    for at in (NOW + timedelta(hours=13), NOW - timedelta(hours=25)):
        with pytest.raises(Forbidden, match="in force"):
            trust.identify(der(roots["lyon"], at))


def test_who_is_identified_is_trusted_until_forgotten_or_expired(
    trust: Trust, roots: dict[str, RootKey], clock: Clock
) -> None:
    identity = trust.identify(der(roots["lyon"]))
    clock.now = NOW + timedelta(hours=25)
    assert not trust.holds(identity)
    clock.now = NOW
    assert trust.replace({"rennes": roots["rennes"].root.der}) == {"lyon"}
    assert not trust.holds(identity)
    with pytest.raises(Forbidden, match="not a site that this one has pinned"):
        trust.identify(der(roots["lyon"]))


def test_a_new_root_for_a_name_ends_the_old_one(
    trust: Trust, roots: dict[str, RootKey], tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = trust.identify(der(roots["lyon"]))
    rebuilt = create(tmp_path_factory.mktemp("rebuilt"), "lyon")
    assert trust.replace({"lyon": rebuilt.root.der, "rennes": roots["rennes"].root.der}) == {"lyon"}
    assert not trust.holds(before)
    assert trust.holds(trust.identify(der(rebuilt)))


def test_a_pin_that_is_none_neither_counts_nor_shields_another_from_being_forgotten(
    trust: Trust, roots: dict[str, RootKey], capsys: pytest.CaptureFixture[str]
) -> None:
    for bad in (roots["rennes"].root.der, b"none"):
        trust.replace({name: roots[name].root.der for name in ("lyon", "rennes")})
        assert trust.replace({"lyon": bad}) == {"lyon", "rennes"}
        assert "lyon" in capsys.readouterr().out
        for name in ("lyon", "rennes"):
            with pytest.raises(Forbidden):
                trust.identify(der(roots[name]))


def test_leaf_and_contexts_are_renewed_at_half_life_and_on_a_new_table(
    trust: Trust, roots: dict[str, RootKey], clock: Clock
) -> None:
    first = trust.server_context()
    clock.now = NOW + timedelta(hours=11, minutes=59)
    assert trust.server_context() is first
    clock.now = NOW + timedelta(hours=12)
    second = trust.server_context()
    assert second is not first
    assert trust._current().leaf.not_after == NOW + timedelta(hours=36)
    assert trust.replace({"lyon": roots["lyon"].root.der}) == {"rennes"}
    assert trust.server_context() is not second
    assert len(second.get_ca_certs()) == 2
    assert len(trust.server_context().get_ca_certs()) == 1
    # A clock that was set back must not leave a certificate from the future in use.
    clock.now = NOW - timedelta(days=1)
    assert trust._current().leaf.not_after == NOW


def test_the_inviter_is_known_by_the_key_in_the_invitation(trust: Trust, roots: dict[str, RootKey]) -> None:
    lyon = PeerAddress(name="lyon", address="192.0.2.1:7576", join_key=roots["lyon"].root.point)
    trust.identify_inviter(der(roots["lyon"]), lyon)
    for shown in (der(roots["rennes"]), forged(roots["rennes"], uri("intertie://lyon")), b""):
        with pytest.raises(Forbidden):
            trust.identify_inviter(shown, lyon)
    with pytest.raises(Forbidden, match="lyon's, not paris's"):
        trust.identify_inviter(der(roots["lyon"]), replace(lyon, name="paris"))


def test_contexts_speak_tls_13_only_and_leave_no_key_behind(trust: Trust) -> None:
    for context in (trust.server_context(), trust.client_context(), certificates.join_context()):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert trust.server_context().num_tickets == 0


def test_a_peer_is_proved_in_exactly_one_way() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        PeerAddress(name="lyon", address="192.0.2.1:7576")
    with pytest.raises(ValueError, match="exactly one"):
        PeerAddress(name="lyon", address="192.0.2.1:7576", root=b"a", join_key=b"b")


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_no_one_bit_change_of_a_leaf_makes_it_another(trust: Trust, roots: dict[str, RootKey]) -> None:
    whole = der(roots["lyon"])
    same = 0
    for at in range(len(whole)):
        for bit in range(8):
            shown = bytearray(whole)
            shown[at] ^= 1 << bit
            with suppress(Forbidden):
                assert trust.identify(bytes(shown)) == trust.identify(whole)
                same += 1
    assert same <= 7  # the ways to write a signature's bit string
