"""Hashes that other servers made: each is verified, by the system's library and by libpass alike, and is weak."""

import hashlib
import importlib
import os
from base64 import b64encode

import bcrypt
import pytest

from duckmail.services import passwordhashes
from duckmail.services.passwordhashes import SYSTEM_CRYPT, find, is_strong

PASSWORD = "Gr\u00fc\u00dfe 12"
_SALT = b"saltsalt"


def _made(name: str, **options: object) -> str:
    handler = getattr(importlib.import_module("passlib.hash"), name)
    return str((handler.using(**options) if options else handler).hash(PASSWORD))


def _bcrypt(kind: str) -> str:
    return bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", f"${kind}$")


def _phc(name: str) -> str:
    digest = hashlib.pbkdf2_hmac(name, PASSWORD.encode(), _SALT, 1000)
    salt, found = (b64encode(each).decode().rstrip("=") for each in (_SALT, digest))
    return f"$pbkdf2-{name}$i=1000${salt}${found}"


_HASHES = {
    "pbkdf2-phc-sha1": _phc("sha1"),
    "pbkdf2-phc-sha256": _phc("sha256"),
    "pbkdf2-phc-sha512": _phc("sha512"),
    "bcrypt-2a": _bcrypt("2a"),
    "bcrypt-2b": _bcrypt("2b"),
    "bcrypt-2y": _bcrypt("2y"),
    "sha512-crypt": _made("sha512_crypt", rounds=1000),
    "sha512-crypt-default": _made("sha512_crypt", rounds=5000),
    "sha256-crypt": _made("sha256_crypt", rounds=1000),
    "md5-crypt": _made("md5_crypt"),
    "des": _made("des_crypt"),
    "pbkdf2-passlib-sha1": _made("pbkdf2_sha1", rounds=1000),
    "pbkdf2-passlib-sha256": _made("pbkdf2_sha256", rounds=1000),
    "pbkdf2-passlib-sha512": _made("pbkdf2_sha512", rounds=1000),
    "ldap-ssha": _made("ldap_salted_sha1"),
    "ldap-ssha256": _made("ldap_salted_sha256"),
    "ldap-ssha512": _made("ldap_salted_sha512"),
    "ldap-sha": _made("ldap_sha1"),
    "ldap-smd5": _made("ldap_salted_md5"),
    "ldap-md5": _made("ldap_md5"),
}


@pytest.mark.parametrize("stored", _HASHES.values(), ids=_HASHES)
def test_each_takes_its_password_alone(stored: str) -> None:
    found = find(stored)
    assert found is not None
    assert found.verify(PASSWORD.encode(), stored)
    for other in (b"", b"x", PASSWORD.upper().encode(), PASSWORD.encode("latin-1"), b"x" * 1024):
        assert not found.verify(other, stored)
    assert not is_strong(stored)


# From crypt(5) of libxcrypt 4.4, made by its own function; the salts are the manual's.
@pytest.mark.skipif(SYSTEM_CRYPT is None, reason="the system has no libxcrypt")
@pytest.mark.parametrize("setting", ["$y$j9T$abcdefghijklmnopqrstu.$", "$y$j75$abcdefghijklmnopqrstu.$"], ids=str)
def test_yescrypt(setting: str) -> None:
    assert SYSTEM_CRYPT is not None
    made = SYSTEM_CRYPT(PASSWORD.encode(), setting.encode())
    assert made is not None
    stored = made.decode()
    found = find(stored)
    assert found is not None
    assert found.verify(PASSWORD.encode(), stored)
    assert not found.verify(b"other", stored)


@pytest.mark.parametrize("name", ["sha512-crypt", "sha256-crypt", "md5-crypt", "des"])
def test_without_the_systems_library_it_is_the_same(name: str) -> None:
    stored = _HASHES[name]
    library = {"sha512-crypt": "sha512_crypt", "sha256-crypt": "sha256_crypt", "md5-crypt": "md5_crypt"}
    verify = passwordhashes._crypt(passwordhashes._libpass(library.get(name, "des_crypt")), None)
    assert verify(PASSWORD.encode(), stored)
    assert not verify(b"other", stored)
    assert not passwordhashes._crypt(None, None)(PASSWORD.encode(), stored)


def test_bcrypt_looks_at_72_octets_as_it_did_when_the_hash_was_made() -> None:
    long = os.urandom(60).hex().encode()
    stored = bcrypt.hashpw(long[:72], bcrypt.gensalt(4)).decode()
    found = find(stored)
    assert found is not None
    assert found.verify(long, stored)
    assert not found.verify(long[:71], stored)


@pytest.mark.parametrize("name", ["bcrypt-2b", "sha512-crypt", "md5-crypt", "des"])
def test_a_nul_does_not_end_a_password(name: str) -> None:
    stored = _HASHES[name]
    found = find(stored)
    assert found is not None
    assert not found.verify(PASSWORD.encode() + b"\0more", stored)


@pytest.mark.parametrize("stored", _HASHES.values(), ids=_HASHES)
def test_a_damaged_hash_is_never_right(stored: str) -> None:
    # A shorter digest in PHC format is one of its own: the format has no length.
    cut = "" if stored.startswith("$pbkdf2-sha") else stored[:-1]
    for damaged in (cut, stored + "x", stored[1:], stored.replace("$", "$$", 1), stored[:-4] + "\u00e9" * 4):
        found = find(damaged)
        assert damaged == stored or found is None or not found.verify(PASSWORD.encode(), damaged)
