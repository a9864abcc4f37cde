"""Signing in: outcome, throttles, what is written behind it."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from duckmail.errors import AccountDisabled, AuthenticationFailed, DuckmailError, RateLimited
from duckmail.services.access import SYSTEM
from duckmail.services.auth import Throttle
from duckmail.services.users import NewUser
from storage.redis import counters as counters_module
from storage.redis.counters import Count, Counters
from tests.support.accounts import Accounts, open_accounts
from tests.support.waiting import PATIENCE

NETWORK = "192.0.2.1/32"


@pytest.fixture
async def accounts(mongo_uri: str, database_name: str) -> AsyncIterator[Accounts]:
    async with open_accounts(mongo_uri, database_name, account=Throttle(3, 120), network=Throttle(5, 120)) as opened:
        yield opened


async def _make(accounts: Accounts, username: str = "anna", **attributes: object) -> str:
    return await accounts.users.create(NewUser(username=username, password="secret", attributes=attributes), SYSTEM)


async def _outcome(
    accounts: Accounts, username: str, password: str, network: str = NETWORK, scope: str = "imap"
) -> str:
    try:
        return (await accounts.auth.login(username, password, scope, network, "imap")).user
    except DuckmailError as error:
        return type(error).__name__


async def test_the_principal_is_the_users(accounts: Accounts) -> None:
    user = await _make(accounts, "anna.bee")
    principal = await accounts.auth.login("annabee", "secret", "imap", NETWORK, "imap")
    assert (principal.user, principal.username, principal.role, principal.scope) == (user, "anna.bee", "user", "imap")


@pytest.mark.parametrize(
    ("attributes", "password", "error"),
    [
        pytest.param({}, "wrong", AuthenticationFailed, id="wrong"),
        pytest.param({}, "", AuthenticationFailed, id="empty"),
        pytest.param({"disabled": True}, "secret", AuthenticationFailed, id="disabled-looks-like-wrong"),
        pytest.param({"suspended": True}, "secret", AuthenticationFailed, id="suspended-looks-like-wrong"),
        pytest.param({"disabled_scopes": ("imap",)}, "secret", AccountDisabled, id="scope"),
        pytest.param({"disabled_scopes": ("imap",)}, "wrong", AuthenticationFailed, id="scope-needs-the-password"),
        pytest.param({"disabled_scopes": ("pop3",)}, "wrong", AuthenticationFailed, id="another-scope"),
    ],
)
async def test_refused(
    accounts: Accounts, attributes: dict[str, object], password: str, error: type[DuckmailError]
) -> None:
    user = await _make(accounts, **attributes)
    with pytest.raises(error) as caught:
        await accounts.auth.login("anna", password, "imap", NETWORK, "imap")
    assert caught.value.fields["user"] == user
    assert user not in caught.value.text


@pytest.mark.parametrize("name", ["nobody", "", " ", "@", "a@b@c", "\0", "x" * 5000, "\udc80", "{$ne: 1}"], ids=repr)
async def test_no_name_raises_anything_else(accounts: Accounts, name: str) -> None:
    assert await _outcome(accounts, name, "secret") == "AuthenticationFailed"


async def test_an_account_is_throttled_after_its_failures(accounts: Accounts) -> None:
    user = await _make(accounts)
    for name in ("anna", "an.na", "ANNA@example.com"):
        assert await _outcome(accounts, name, "wrong", "") == "AuthenticationFailed"
    assert await _outcome(accounts, "anna", "secret", "") == "RateLimited"
    await accounts.counters.clear(f"auth:user:{user}")
    assert await _outcome(accounts, "anna", "secret", "") == user


async def test_unknown_names_are_throttled_too(accounts: Accounts) -> None:
    outcomes = [await _outcome(accounts, "nobody", "x", "") for _ in range(4)]
    assert outcomes == ["AuthenticationFailed"] * 3 + ["RateLimited"]


async def test_success_clears_the_account_but_not_the_network(accounts: Accounts) -> None:
    user = await _make(accounts)
    for _ in range(2):
        for _ in range(2):
            await _outcome(accounts, "anna", "wrong")
        assert await _outcome(accounts, "anna", "secret") == user
    await _outcome(accounts, "anna", "wrong")
    assert await _outcome(accounts, "anna", "secret") == "RateLimited"
    assert await _outcome(accounts, "anna", "secret", "192.0.2.2/32") == user
    assert await _outcome(accounts, "anna", "secret", "unix") == user


async def test_parallel_attempts_do_not_slip_by_the_counter(accounts: Accounts) -> None:
    await _make(accounts)
    outcomes = await asyncio.gather(*(_outcome(accounts, "anna", f"wrong{n}", "") for n in range(20)))
    assert outcomes.count("AuthenticationFailed") == 3
    assert outcomes.count("RateLimited") == 17


async def test_parallel_right_ones_all_get_in(accounts: Accounts) -> None:
    user = await _make(accounts)
    assert await asyncio.gather(*(_outcome(accounts, "anna", "secret") for _ in range(20))) == [user] * 20


async def test_whoever_is_refused_costs_one_verification(accounts: Accounts) -> None:
    await _make(accounts)
    await _make(accounts, "off", disabled=True)
    await accounts.users.create(NewUser(username="none"), SYSTEM)
    for name in ("anna", "off", "none", "nobody", "anna@example.org", "", "x" * 5000, "\udc80"):
        before = accounts.pool.calls
        assert await _outcome(accounts, name, "wrong", "") == "AuthenticationFailed"
        assert accounts.pool.calls - before == 1, name


async def test_a_login_is_written_down_and_a_weak_hash_replaced(accounts: Accounts) -> None:
    digest = b64encode(hashlib.pbkdf2_hmac("sha256", b"secret", b"saltsaltsaltsalt", 1000, 32)).decode().rstrip("=")
    weak = f"$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0c2FsdA${digest}"
    user = await accounts.users.create(NewUser(username="bob", password=weak, hashed=True), SYSTEM)
    assert (await accounts.users.get(user, SYSTEM)).password_hash == weak
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    await accounts.auth.login("bob", "secret", "imap", NETWORK, "imap")
    async with asyncio.timeout(PATIENCE):
        while True:
            found = await accounts.users.get(user, SYSTEM)
            if found.last_login is not None and found.password_hash != weak:
                break
            await asyncio.sleep(0.02)
    assert found.last_login is not None
    assert found.last_login >= before.replace(microsecond=0)
    assert found.password_hash.startswith("$argon2id$")
    assert found.auth_version == 0
    assert (await accounts.passwords.verify("secret", found.password_hash)).right


async def test_a_temporary_password_is_for_the_master_scope_and_a_day(accounts: Accounts) -> None:
    user = await accounts.users.create(NewUser(username="anna", password="temp", temporary=True), SYSTEM)
    signed_in = await accounts.auth.sign_in("anna", "temp", "master", "", "API")
    assert signed_in.change_password
    assert await _outcome(accounts, "anna", "temp") == "AccountDisabled"
    await accounts.records.update(user, {"temp_password_expires": datetime.now(UTC)})
    assert await _outcome(accounts, "anna", "temp", scope="master") == "AuthenticationFailed"


async def test_confirm_is_throttled_like_a_login(accounts: Accounts) -> None:
    user = await accounts.users.get(await _make(accounts), SYSTEM)
    await accounts.auth.confirm(user, "secret")
    for _ in range(3):
        with pytest.raises(AuthenticationFailed):
            await accounts.auth.confirm(user, "wrong")
    with pytest.raises(RateLimited):
        await accounts.auth.confirm(user, "secret")
    assert await _outcome(accounts, "anna", "secret", "") == "RateLimited"


async def test_counters_are_shared_through_redis(redis_url: str, redis_prefix: str) -> None:
    async with Redis.from_url(redis_url) as redis:
        one, other = Counters(redis, redis_prefix), Counters(redis, redis_prefix)
        assert await one.incr("a", 100) == Count(1, 100)
        assert (await other.incr("a", 200, by=2)).value == 3
        found = await one.get("a")
        assert found.value == 3
        assert 95 <= found.ttl <= 100  # from the first increment, not renewed
        await other.clear("a")
        assert await one.get("a") == Count()


async def test_counters_go_on_in_memory_when_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters_module, "DOWN_SECONDS", 600)
    asked = 0

    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.close()

    server = await asyncio.start_server(leave, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Redis(host="127.0.0.1", port=port) as redis:
        counters = Counters(redis, "x:")
        assert await counters.incr("a", 100) == Count(1, 100)
        assert (first := asked) > 0
        for _ in range(100):
            await counters.incr("a", 100)
        assert asked == first, "nobody asks Redis for a while"
        assert (await counters.get("a")).value == 101
        await counters.clear("a")
        assert (await counters.get("a")).value == 0


async def test_a_hanging_redis_costs_a_quarter_of_a_second_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counters_module, "DOWN_SECONDS", 600)
    asked = bytearray()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            asked.extend(data)
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Redis(host="127.0.0.1", port=port) as redis:
        counters = Counters(redis, "x:")
        await counters.incr("a", 100)  # there is no answer, ever
        assert (first := bytes(asked))
        for _ in range(9):
            await counters.incr("a", 100)
        assert asked == first
        assert (await counters.get("a")).value == 10


async def test_counters_in_memory_are_bounded_and_forget() -> None:
    counters = Counters(None)
    for number in range(10_010):
        await counters.incr(f"k{number}", 100)
    assert len(counters._memory._counts) == 10_000
    assert (await counters.get("k0")).value == 0
    await counters.incr("short", 0)
    assert (await counters.get("short")).value == 0
