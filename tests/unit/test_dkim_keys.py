"""Keys that sign: read, made, rotated."""

import base64
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from duckmail.errors import InvalidInput
from duckmail.services.dkim import keys
from duckmail.services.dkim.dkim import VERIFIED, record_name, rotated, signing
from storage.dkim import SigningKey

NOW = datetime(2026, 1, 31, tzinfo=UTC)
_NONE = serialization.NoEncryption()


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | Ed25519PrivateKey, passphrase: bytes = b"") -> str:
    hidden = serialization.BestAvailableEncryption(passphrase) if passphrase else _NONE
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden).decode()


def _key(identifier: str, algorithm: str = keys.RSA, days: float = 0) -> SigningKey:
    since = NOW + timedelta(days=days)
    return SigningKey(identifier, f"s{identifier}", algorithm, b"", b"", since, since)


def test_raw_ed25519_is_the_key_of_rfc_8463() -> None:
    # RFC 8463 appendix A.2
    pair = keys.read("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    assert pair.algorithm == keys.ED25519
    assert keys.dns_value(pair.algorithm, pair.public) == (
        "v=DKIM1;t=s;k=ed25519;p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    )


def test_pem_and_raw_of_one_key_are_the_same() -> None:
    key = Ed25519PrivateKey.generate()
    raw = b64encode(key.private_bytes_raw()).decode()
    assert keys.read(_pem(key)).public == keys.read(raw).public


def test_rsa_record_is_what_its_public_pem_says() -> None:
    pair = keys.generate(keys.RSA)
    value = keys.dns_value(pair.algorithm, pair.public)
    loaded = serialization.load_pem_public_key(keys.public_pem(pair.public).encode())
    assert isinstance(loaded, rsa.RSAPublicKey)
    assert loaded.key_size == 2048
    assert base64.b64decode(value.partition("p=")[2]) == pair.public
    assert len(keys.fingerprint(pair.public).split(":")) == 32


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x", id="no-pem"),
        pytest.param("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", id="no-key"),
        pytest.param(_pem(ec.generate_private_key(ec.SECP256R1())), id="another-algorithm"),
        pytest.param(_pem(Ed25519PrivateKey.generate(), b"x"), id="with-a-passphrase"),
    ],
)
def test_unusable_keys(text: str) -> None:
    with pytest.raises(InvalidInput):
        keys.read(text)


def test_the_old_key_signs_until_the_new_ones_time() -> None:
    old, new = _key("1", days=-100), _key("2", days=2)
    both = rotated([old], new, NOW)
    assert both == (new, old)
    assert signing(both, NOW) == [old]
    assert signing(both, NOW + timedelta(days=3)) == [new]


def test_rsa_and_ed25519_sign_together() -> None:
    first, second = _key("1"), _key("2", keys.ED25519)
    assert signing(rotated([first], second, NOW), NOW) == [first, second]


def test_a_key_that_never_signed_is_dropped() -> None:
    assert [key.id for key in rotated([_key("2", days=1), _key("1", days=-1)], _key("3", days=2), NOW)] == ["3", "1"]


def test_a_key_is_kept_for_as_long_as_its_signatures_are_verified() -> None:
    ended = -VERIFIED.days - 1
    old, current = _key("1", days=ended - 10), _key("2", days=ended)
    other = _key("9", keys.ED25519, days=-500)
    assert [key.id for key in rotated([current, other, old], _key("3"), NOW)] == ["3", "2", "9"]
    assert [key.id for key in rotated([_key("2", days=-1), old], _key("3"), NOW)] == ["3", "2", "1"]


def test_many_rotations_keep_few_keys_and_the_other_algorithm() -> None:
    found: tuple[SigningKey, ...] = (_key("e", keys.ED25519, days=-1),)
    for number in range(10):
        found = rotated(found, _key(str(number)), NOW)
    assert [key.id for key in found] == ["9", "8", "7", "6", "e"]


def test_a_selector_has_one_key() -> None:
    with pytest.raises(InvalidInput, match="selector"):
        rotated([_key("1")], _key("1", keys.ED25519), NOW)


def test_names_of_records_are_as_dns_has_them() -> None:
    assert record_name("bücher.example", "s") == "s._domainkey.xn--bcher-kva.example"
    assert record_name("*", "s") == "s._domainkey.*"
