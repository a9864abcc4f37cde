"""Password hashes: which are verified, what they may cost, which are replaced."""

import hashlib
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import pytest
from argon2 import Parameters, PasswordHasher, Type, extract_parameters

from duckmail.errors import Unavailable, UnsupportedHash
from duckmail.runtime.threads import Pool
from duckmail.services.passwords import MAX_PASSWORD, Passwords, is_supported, is_weak, require_supported
from tests.support.accounts import CountingPool

P = ParamSpec("P")
T = TypeVar("T")


def _pbkdf2(password: str, name: str = "sha256", iterations: int = 1000, length: int = 32) -> str:
    digest = hashlib.pbkdf2_hmac(name, password.encode(), b"saltsaltsaltsalt", iterations, length)
    salt, value = (b64encode(octets).decode().rstrip("=") for octets in (b"saltsaltsaltsalt", digest))
    return f"$pbkdf2-{name}$i={iterations}${salt}${value}"


@pytest.fixture
def pool() -> Iterator[Pool]:
    found = Pool("passwords", 2)
    yield found
    found.close()


@pytest.fixture
def passwords(pool: Pool) -> Passwords:
    return Passwords(pool)


@pytest.mark.parametrize(
    "password",
    ["secret", "pä55 wörd", "x" * MAX_PASSWORD, "nul\0inside", "\udc80octet"],
    ids=lambda text: repr(text[:9]),
)
async def test_a_new_hash_takes_its_password_alone(passwords: Passwords, password: str) -> None:
    stored = await passwords.hash(password)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert (await passwords.verify(password, stored)).right
    assert not (await passwords.verify(password, stored)).weak
    for other in (password + "x", password[:-1], password.swapcase() + " "):
        assert not (await passwords.verify(other, stored)).right


@pytest.mark.parametrize("name", ["sha1", "sha256", "sha512"])
async def test_pbkdf2_is_verified_and_weak(passwords: Passwords, name: str) -> None:
    stored = _pbkdf2("secret", name)
    verified = await passwords.verify("secret", stored)
    assert (verified.right, verified.weak) == (True, True)
    assert not (await passwords.verify("Secret", stored)).right


async def test_a_known_hash_of_another_maker(passwords: Passwords) -> None:
    # As npm @phc/pbkdf2 writes it.
    stored = "$pbkdf2-sha256$i=100000$c2FsdHNhbHRzYWx0c2FsdA$" + _pbkdf2("pw", iterations=100_000).rsplit("$", 1)[1]
    assert (await passwords.verify("pw", stored)).right


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param("", id="none-set"),
        pytest.param("secret", id="plain-text"),
        pytest.param("$2b$15$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", id="bcrypt-too-costly"),
        pytest.param("$2b$03$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", id="bcrypt-too-cheap-to-be"),
        pytest.param("$2x$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", id="bcrypt-of-a-broken-kind"),
        pytest.param("$6$rounds=2000000$salt$" + "a" * 86, id="sha512-crypt-too-costly"),
        pytest.param("$5$rounds=1000$sa:lt$" + "a" * 43, id="sha256-crypt-bad-salt"),
        pytest.param("$y$jFT$salt$" + "a" * 43, id="yescrypt-too-much-memory"),
        pytest.param("$pbkdf2-sha256$3000000$c2FsdHNhbHQ$" + "a" * 43, id="pbkdf2-of-passlib-too-costly"),
        pytest.param("{CRYPT}$6$salt$" + "a" * 86, id="ldap-crypt"),
        pytest.param("{SSHA}AAAA", id="ldap-cut"),
        pytest.param("abcdefghijklmn", id="des-too-long"),
        pytest.param(_pbkdf2("secret", iterations=3_000_000), id="pbkdf2-too-costly"),
        pytest.param("$pbkdf2-md5$i=1000$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", id="pbkdf2-md5"),
        pytest.param("$pbkdf2-sha256$i=1000$A$AAAAAAAAAAAAAAAAAAAAAA", id="salt-is-no-base64"),
        pytest.param("$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", id="argon2-memory"),
        pytest.param("$argon2id$v=19$m=65536,t=1000,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", id="argon2-passes"),
        pytest.param("$argon2id$v=19$m=65536,t=1,p=99$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", id="argon2-lanes"),
        pytest.param("$argon2id$", id="argon2-cut"),
        pytest.param("$argon2id$v=19$m=x,t=1,p=1$c2FsdHNhbHQ$AAAA", id="argon2-not-a-number"),
    ],
)
async def test_what_is_not_supported_is_never_right_and_cannot_be_stored(passwords: Passwords, stored: str) -> None:
    assert not is_supported(stored)
    assert not (await passwords.verify("secret", stored)).right
    with pytest.raises(UnsupportedHash, match="Invalid algo"):
        require_supported(stored)


@pytest.mark.parametrize(
    ("hasher", "weak"),
    [
        pytest.param(PasswordHasher(2, 19 * 1024, 1), False, id="ours"),
        pytest.param(PasswordHasher(1, 46 * 1024, 1), False, id="more-memory-fewer-passes"),
        pytest.param(PasswordHasher(1, 19 * 1024, 1), True, id="fewer-passes"),
        pytest.param(PasswordHasher(2, 1024, 1), True, id="less-memory"),
        pytest.param(PasswordHasher(2, 19 * 1024, 1, type=Type.I), True, id="argon2i"),
        pytest.param(PasswordHasher(2, 19 * 1024, 1, type=Type.D), True, id="argon2d"),
    ],
)
async def test_argon2_of_others(passwords: Passwords, hasher: PasswordHasher, weak: bool) -> None:
    stored = hasher.hash("secret")
    assert is_supported(stored)
    assert is_weak(stored) is weak
    assert (await passwords.verify("secret", stored)).right
    assert not (await passwords.verify("other", stored)).right


class _RecordingPool(Pool):
    """Tells what the hashes cost that were verified."""

    def __init__(self) -> None:
        super().__init__("passwords", 2)
        self.costs: list[Parameters] = []

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        stored = args[-1]
        if isinstance(stored, str):
            self.costs.append(extract_parameters(stored))
        return await super().run(fn, *args, **kwargs)


async def test_nobody_costs_as_much_as_a_wrong_password() -> None:
    pool = _RecordingPool()
    passwords = Passwords(pool)
    stored = await passwords.hash("secret")
    for target, password in ((stored, "wrong"), ("", "wrong"), ("plain", "x"), (stored, ""), (stored, "x" * 100_000)):
        assert not (await passwords.verify(password, target)).right
    pool.close()
    assert len(pool.costs) == 5
    assert all(cost == pool.costs[0] for cost in pool.costs)


async def test_a_right_password_is_remembered_and_a_wrong_one_is_not() -> None:
    pool = CountingPool("passwords", 2)
    passwords = Passwords(pool)
    stored, changed = await passwords.hash("secret"), await passwords.hash("changed")
    before = pool.calls
    for _ in range(20):
        assert (await passwords.verify("secret", stored)).right
    assert pool.calls == before + 1
    for _ in range(2):
        assert not (await passwords.verify("wrong", stored)).right
        assert not (await passwords.verify("secret", changed)).right
    assert pool.calls == before + 5
    pool.close()


async def test_a_full_queue_is_a_temporary_error() -> None:
    pool = Pool("passwords", 1, waiting=0)
    passwords = Passwords(pool)
    try:
        future = pool._executor.submit(time.sleep, 0.2)
        pool._pending += 1
        with pytest.raises(Unavailable):
            await passwords.verify("secret", "")
        future.result()
    finally:
        pool.close()
