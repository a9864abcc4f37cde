"""The formats of password hashes that other mail servers leave behind: which are verified, and at what cost.

- A format is a row of `_FORMATS`: what its hashes look like and how one is verified. All of it is blocking: call it in
  a thread.
- What a hash may cost is bounded by its own parameters, before it is stored: it decides what each login costs.
- A password with a NUL is never right for functions that take C strings: they would see its beginning alone.
"""

import ctypes
import ctypes.util
import hashlib
import hmac
import importlib
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass

import bcrypt
from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

# What OWASP's Password Storage Cheat Sheet asks of argon2id at least; 27 ms on a 2-core server.
HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)

LONGEST = 512  # characters of a stored hash
# What an imported hash may cost at most: about a second of one core, and 256 MiB.
_MOST_MEMORY = 256 * 1024  # KiB
_MOST_WORK = 4 * _MOST_MEMORY  # KiB x passes
_MOST_LANES = 16
_MOST_ITERATIONS = 2_000_000  # of PBKDF2
_MOST_ROUNDS = 1_000_000  # of SHA-crypt
_MOST_LOG_ROUNDS = 14  # of bcrypt
_BCRYPT_OCTETS = 72  # what of a password bcrypt looks at
_CRYPT_OCTETS = 512  # CRYPT_MAX_PASSPHRASE_SIZE
_CRYPT_DATA = 32_768  # octets of struct crypt_data
_PHC_DIGESTS = {"sha1": 20, "sha256": 32, "sha512": 64}

Verify = Callable[[bytes, str], bool]


@dataclass(frozen=True, slots=True)
class Format:
    """`pattern`: of a whole hash. `affordable`: whether what was matched may be verified here."""

    pattern: re.Pattern[str]
    verify: Verify
    affordable: Callable[[re.Match[str]], bool] = lambda _: True


def find(stored: str) -> Format | None:
    """The format of a hash that is verified here, at a cost that is acceptable."""
    if len(stored) > LONGEST or not stored.isascii():
        return None
    for each in _FORMATS:
        matched = each.pattern.fullmatch(stored)
        if matched:
            return each if each.affordable(matched) else None
    return None


# -- argon2 ------------------------------------------------------------------------------------------------------------


def _argon2_affordable(matched: re.Match[str]) -> bool:
    try:
        parameters = extract_parameters(matched[0])
    except (InvalidHashError, ValueError):
        return False
    work = parameters.memory_cost * parameters.time_cost
    cheap = parameters.memory_cost <= _MOST_MEMORY and 0 < work <= _MOST_WORK
    return cheap and 0 < parameters.parallelism <= _MOST_LANES


def _argon2(password: bytes, stored: str) -> bool:
    try:
        return HASHER.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


def is_strong(stored: str) -> bool:
    """argon2id that costs an attacker what a new hash does, or more."""
    if not stored.startswith("$argon2id$"):
        return False
    parameters = extract_parameters(stored)
    least = HASHER.memory_cost * HASHER.time_cost
    return parameters.type is Type.ID and parameters.memory_cost * parameters.time_cost >= least


# -- PBKDF2 in the PHC string format, as npm's @phc/pbkdf2 writes it ---------------------------------------------------

# `$id$param=value$salt$hash`, base64 without padding.
_PHC = re.compile(
    r"\$pbkdf2-(sha1|sha256|sha512)\$i=([1-9][0-9]{0,8})(?:,l=[0-9]{1,3})?"
    r"\$([A-Za-z0-9+/]{1,128})\$([A-Za-z0-9+/]{16,128})"
)


def _phc_affordable(matched: re.Match[str]) -> bool:
    whole = len(matched[3]) % 4 != 1 and len(matched[4]) % 4 != 1  # else no base64
    return whole and int(matched[2]) <= _MOST_ITERATIONS


def _phc(password: bytes, stored: str) -> bool:
    matched = _PHC.fullmatch(stored)
    if matched is None:
        return False
    salt, wanted = _decode(matched[3]), _decode(matched[4])
    found = hashlib.pbkdf2_hmac(matched[1], password, salt, int(matched[2]), len(wanted))
    return hmac.compare_digest(found, wanted)


def _decode(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4))


# -- bcrypt ------------------------------------------------------------------------------------------------------------


def _bcrypt(password: bytes, stored: str) -> bool:
    # Versions of bcrypt before 5 cut passwords without a word, so that hashes of longer ones are of their beginning.
    try:
        return b"\0" not in password and bcrypt.checkpw(password[:_BCRYPT_OCTETS], stored.encode("ascii"))
    except ValueError:
        return False


# -- crypt(3) ----------------------------------------------------------------------------------------------------------


def _load_crypt() -> Callable[[bytes, bytes], bytes | None] | None:
    """libxcrypt's function; None where the system's library is another, or absent."""
    name = ctypes.util.find_library("crypt")
    try:
        function = ctypes.CDLL(name).crypt_rn if name else None
    except (OSError, AttributeError):
        return None
    if function is None:
        return None
    function.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
    function.restype = ctypes.c_char_p

    def crypt(password: bytes, setting: bytes) -> bytes | None:
        data = ctypes.create_string_buffer(_CRYPT_DATA)  # its own: the function keeps nothing between calls
        found: bytes | None = function(password, setting, data, _CRYPT_DATA)
        return found

    return crypt


SYSTEM_CRYPT = _load_crypt()


def _crypt(fallback: Verify | None, crypt: Callable[[bytes, bytes], bytes | None] | None = SYSTEM_CRYPT) -> Verify:
    """By the system's library, which lets go of the interpreter meanwhile; else by `fallback`."""

    def verify(password: bytes, stored: str) -> bool:
        if b"\0" in password or len(password) > _CRYPT_OCTETS:
            return False
        if crypt is None:
            return fallback is not None and fallback(password, stored)
        found = crypt(password, stored.encode("ascii"))
        return found is not None and hmac.compare_digest(found, stored.encode("ascii"))

    return verify


def _rounds_affordable(matched: re.Match[str]) -> bool:
    return matched[1] is None or int(matched[1]) <= _MOST_ROUNDS


# -- what libpass verifies ---------------------------------------------------------------------------------------------


def _libpass(name: str) -> Verify:
    def verify(password: bytes, stored: str) -> bool:
        # Imported when it is needed: it takes a tenth of a second, and few have such hashes.
        handler = getattr(importlib.import_module("passlib.hash"), name)
        try:
            return bool(handler.verify(password, stored))
        except (ValueError, TypeError):  # also its own errors of hashes that are malformed
            return False

    return verify


def _libpass_iterations(matched: re.Match[str]) -> bool:
    return int(matched[1]) <= _MOST_ITERATIONS


_CRYPT_SALT = r"[./0-9A-Za-z]{0,16}"
_AB64 = r"[./A-Za-z0-9]"
_SHA_CRYPT = r"(?:\$rounds=([1-9][0-9]{3,8}))?"


def _row(pattern: str, verify: Verify, affordable: Callable[[re.Match[str]], bool] | None = None) -> Format:
    compiled = re.compile(pattern)
    return Format(compiled, verify, affordable) if affordable else Format(compiled, verify)


_FORMATS: tuple[Format, ...] = (
    _row(r"\$argon2(?:id|i|d)\$[!-~]+", _argon2, _argon2_affordable),
    Format(_PHC, _phc, _phc_affordable),
    _row(r"\$2[aby]\$([0-3][0-9])\$[./A-Za-z0-9]{53}", _bcrypt, lambda found: 4 <= int(found[1]) <= _MOST_LOG_ROUNDS),
    _row(rf"\$6{_SHA_CRYPT}\${_CRYPT_SALT}\${_AB64}{{86}}", _crypt(_libpass("sha512_crypt")), _rounds_affordable),
    _row(rf"\$5{_SHA_CRYPT}\${_CRYPT_SALT}\${_AB64}{{43}}", _crypt(_libpass("sha256_crypt")), _rounds_affordable),
    _row(rf"\$1\$[./0-9A-Za-z]{{0,8}}\${_AB64}{{22}}", _crypt(_libpass("md5_crypt"))),
    # yescrypt: 2^(third letter) blocks of 1 or 4 KiB, up to 2^16. No Python library has it.
    _row(rf"\$y\$j[./0-9A-D][5T]\${_AB64}{{1,86}}\${_AB64}{{43}}", _crypt(None), lambda _: SYSTEM_CRYPT is not None),
    _row(
        rf"\$pbkdf2\$([1-9][0-9]{{0,8}})\${_AB64}{{0,128}}\${_AB64}{{27}}", _libpass("pbkdf2_sha1"), _libpass_iterations
    ),
    _row(
        rf"\$pbkdf2-sha256\$([1-9][0-9]{{0,8}})\${_AB64}{{0,128}}\${_AB64}{{43}}",
        _libpass("pbkdf2_sha256"),
        _libpass_iterations,
    ),
    _row(
        rf"\$pbkdf2-sha512\$([1-9][0-9]{{0,8}})\${_AB64}{{0,128}}\${_AB64}{{86}}",
        _libpass("pbkdf2_sha512"),
        _libpass_iterations,
    ),
    # RFC 2307 §5.3: userPassword of LDAP directories.
    _row(r"\{SSHA\}[A-Za-z0-9+/]{32,64}={0,2}", _libpass("ldap_salted_sha1")),
    _row(r"\{SSHA256\}[A-Za-z0-9+/]{48,80}={0,2}", _libpass("ldap_salted_sha256")),
    _row(r"\{SSHA512\}[A-Za-z0-9+/]{91,128}={0,2}", _libpass("ldap_salted_sha512")),
    _row(r"\{SHA\}[A-Za-z0-9+/]{27}=", _libpass("ldap_sha1")),
    _row(r"\{SMD5\}[A-Za-z0-9+/]{27,48}={0,2}", _libpass("ldap_salted_md5")),
    _row(r"\{MD5\}[A-Za-z0-9+/]{22}==", _libpass("ldap_md5")),
    _row(rf"{_AB64}{{13}}", _crypt(_libpass("des_crypt"))),
)
