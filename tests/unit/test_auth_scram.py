"""Signing in by a proof of the password: for whom there are keys, and that all else is as with the password itself."""

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.objectid import ObjectId

from duckmail.errors import DuckmailError
from duckmail.model.credentials import ScramProof, Trace
from duckmail.runtime.sealer import Sealer
from duckmail.services import attempts
from duckmail.services.access import SYSTEM
from duckmail.services.asps import NewAsp
from duckmail.services.auth import SignedIn, Throttle
from duckmail.services.scram import Scram, salt_key
from duckmail.services.users import NewUser
from protocols.sasl.scram import Scram as Mechanism
from protocols.sasl.scram import final_message
from protocols.sasl.steps import Lookup
from storage.scram import SALT_KEY_CONTEXT, SaltKeys
from tests.support.accounts import Accounts, open_accounts
from tests.support.scram_client import ScramClient

NETWORK = "192.0.2.1/32"
ASP = "abcdefghijklmnop"


@pytest.fixture
async def accounts(mongo_uri: str, database_name: str) -> AsyncIterator[Accounts]:
    throttles = Throttle(3, 120), Throttle(100, 120)
    async with open_accounts(mongo_uri, database_name, None, "", *throttles, scram=True) as opened:
        yield opened


async def _make(accounts: Accounts, username: str = "anna", **attributes: object) -> str:
    return await accounts.users.create(NewUser(username=username, password="secret", attributes=attributes), SYSTEM)


async def _imported(accounts: Accounts) -> str:
    """An account whose password nobody here has seen yet."""
    hashed = await accounts.passwords.hash("secret")
    return await accounts.users.create(NewUser(username="anna", password=hashed, hashed=True), SYSTEM)


async def _prove(
    accounts: Accounts, username: str = "anna", password: str = "secret", scope: str = "imap"
) -> tuple[SignedIn, ScramClient]:
    mechanism, client = Mechanism(plus=False, end_point=b""), ScramClient(username, password)
    first = mechanism.step(client.first())
    assert isinstance(first, Lookup)
    told = await accounts.auth.salt(first.username, scope, NETWORK, scope)
    proof = mechanism.step(client.final(first.challenge(told.salt, told.iterations)))
    assert isinstance(proof, ScramProof)
    return await accounts.auth.sign_in_by_proof(proof, scope, NETWORK, scope, trace=Trace("192.0.2.1")), client


async def _outcome(
    accounts: Accounts, username: str = "anna", password: str = "secret", scope: str = "imap", *, plain: bool = False
) -> str:
    try:
        if plain:
            return (await accounts.auth.login(username, password, scope, NETWORK, scope)).user
        return (await _prove(accounts, username, password, scope))[0].user.id
    except DuckmailError as error:
        return type(error).__name__


async def _until(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.02)


async def _asp(accounts: Accounts, user: str, *scopes: str) -> str:
    made, _ = await accounts.asps.create(
        user, NewAsp(description="phone", scopes=scopes or ("*",), password=ASP), SYSTEM, Trace()
    )
    return made.id


async def test_both_sides_prove_that_they_know_the_password(accounts: Accounts) -> None:
    user = await _make(accounts)
    signed_in, client = await _prove(accounts)
    assert (signed_in.principal.user, signed_in.principal.scope, signed_in.source) == (user, "imap", "master")
    assert final_message(signed_in.signature) == client.verifier
    for name in ("ANNA", "an.na", "anna@example.com", "anna+label@example.com"):
        assert await _outcome(accounts, name) == user
    assert await _outcome(accounts, password="Secret") == "AuthenticationFailed"


async def test_what_is_kept_does_not_sign_in(accounts: Accounts) -> None:
    """Neither the database alone nor the keys in it: a proof needs the password."""
    user = await _make(accounts)
    document = await accounts.database["users"].find_one({"_id": ObjectId(user)})
    assert document is not None
    salted = hashlib.pbkdf2_hmac("sha256", b"secret", document["scram"]["salt"], document["scram"]["iterations"])
    assert salted not in document["scram"]["keys"]
    assert hashlib.sha256(salted).digest() not in document["scram"]["keys"]
    scram = accounts.asps.scram
    assert scram is not None
    found = await accounts.users.get(user, SYSTEM)
    keys = scram._open(found.scram, found.password_hash)
    assert keys is not None
    assert salted not in (keys.stored, keys.server)
    assert keys.stored not in document["scram"]["keys"]  # sealed


@pytest.mark.parametrize(
    ("attributes", "password", "outcome"),
    [
        pytest.param({}, "wrong", "AuthenticationFailed", id="wrong"),
        pytest.param({"disabled": True}, "secret", "AuthenticationFailed", id="disabled-looks-like-wrong"),
        pytest.param({"suspended": True}, "secret", "AuthenticationFailed", id="suspended-looks-like-wrong"),
        pytest.param({"disabled_scopes": ("imap",)}, "secret", "AccountDisabled", id="scope"),
        pytest.param({"disabled_scopes": ("imap",)}, "wrong", "AuthenticationFailed", id="scope-needs-the-password"),
        pytest.param({"enabled_2fa": ("totp",)}, "secret", "AccountDisabled", id="second-factor"),
        pytest.param({"enabled_2fa": ("totp",)}, "wrong", "AuthenticationFailed", id="second-factor-wrong"),
    ],
)
async def test_refused_as_with_the_password(
    accounts: Accounts, attributes: dict[str, object], password: str, outcome: str
) -> None:
    await _make(accounts, **attributes)
    assert await _outcome(accounts, password=password) == outcome
    assert await _outcome(accounts, password=password, plain=True) == outcome


async def test_no_name_raises_anything_else(accounts: Accounts) -> None:
    for name in ("nobody", " ", "@", "a@b@c", "x" * 2000, "\u00ad", "{$ne: 1}"):
        assert await _outcome(accounts, name) == "AuthenticationFailed", name


async def test_nobody_has_a_salt_that_stays(accounts: Accounts) -> None:
    """Asked again, by other spellings, and when the account is made: it is the one the account has then."""

    async def told(name: str) -> tuple[bytes, int]:
        found = await accounts.auth.salt(name, "imap", NETWORK, "imap")
        assert not found.keys
        return found.salt, found.iterations

    spellings = ("anna", "ANNA", "an.na", "anna@example.com", "anna+x@example.com")
    before = [await told(name) for name in spellings]
    assert len(set(before)) == 1
    assert await told("bert") != before[0]
    assert await told("anna@example.org") != before[0]
    user = await _imported(accounts)
    assert [await told(name) for name in spellings] == before  # an account without keys
    await accounts.users.set_password(user, "other", SYSTEM)
    assert [await told(name) for name in spellings] == before  # and with them
    assert await _outcome(accounts, password="other") == user


async def test_unknown_and_known_names_take_the_same_steps_and_time(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No name costs a hash, and each step takes a time that does not depend on what was found."""
    await _make(accounts)
    await _make(accounts, "off", disabled=True)
    monkeypatch.setattr(attempts, "STEP_SECONDS", 0.2)
    loop = asyncio.get_running_loop()
    for name in ("anna", "off", "nobody"):
        calls, started = accounts.pool.calls, loop.time()
        assert await _outcome(accounts, name, "wrong") == "AuthenticationFailed"
        assert accounts.pool.calls == calls, name
        assert loop.time() - started >= 0.39, name  # two steps


async def test_proofs_are_throttled_with_passwords(accounts: Accounts) -> None:
    user = await _make(accounts)
    assert await _outcome(accounts, password="wrong") == "AuthenticationFailed"
    assert await _outcome(accounts, password="wrong", plain=True) == "AuthenticationFailed"
    assert await _outcome(accounts, password="wrong") == "AuthenticationFailed"
    assert await _outcome(accounts) == "RateLimited"
    await accounts.counters.clear(f"auth:user:{user}")
    assert await _outcome(accounts) == user
    assert [await _outcome(accounts, "nobody") for _ in range(4)] == ["AuthenticationFailed"] * 3 + ["RateLimited"]


async def test_keys_are_made_when_a_password_is_first_seen(accounts: Accounts) -> None:
    user = await _imported(accounts)
    assert await _outcome(accounts) == "AuthenticationFailed"
    await accounts.counters.clear(f"auth:user:{user}")
    assert await _outcome(accounts, plain=True) == user

    async def has_keys() -> bool:
        found = (await accounts.users.get(user, SYSTEM)).scram
        return found is not None and bool(found.keys)

    await _until(has_keys)
    assert await _outcome(accounts) == user
    assert (await accounts.users.get(user, SYSTEM)).auth_version == 0  # nobody was signed out


async def test_a_weak_hash_is_replaced_with_the_keys(accounts: Accounts) -> None:
    derived = b64encode(hashlib.pbkdf2_hmac("sha256", b"secret", b"saltsaltsaltsalt", 1000, 32)).decode().rstrip("=")
    weak = f"$pbkdf2-sha256$i=1000$c2FsdHNhbHRzYWx0c2FsdA${derived}"
    user = await accounts.users.create(NewUser(username="anna", password=weak, hashed=True), SYSTEM)
    assert await _outcome(accounts, plain=True) == user

    async def renewed() -> bool:
        found = await accounts.users.get(user, SYSTEM)
        assert bool(found.scram) == (found.password_hash != weak)  # in one step
        return found.password_hash != weak

    await _until(renewed)
    assert await _outcome(accounts) == user


async def test_a_new_password_is_the_only_one(accounts: Accounts) -> None:
    user = await _make(accounts)
    before = (await _prove(accounts))[0].principal
    await accounts.users.set_password(user, "newer", SYSTEM)
    assert await _outcome(accounts) == "AuthenticationFailed"
    after = (await _prove(accounts, password="newer"))[0].principal
    assert after.auth_version == before.auth_version + 1  # which ends the sessions of the old one
    await accounts.users.update(user, {}, SYSTEM, password=await accounts.passwords.hash("newest"), hashed=True)
    assert await _outcome(accounts, password="newer") == "AuthenticationFailed"
    assert await _outcome(accounts, password="newest") == "AuthenticationFailed"


async def test_a_hash_put_beside_the_keys_makes_them_useless(accounts: Accounts) -> None:
    """By a server of an older version, or by hand."""
    user = await _make(accounts)
    hashed = await accounts.passwords.hash("newer")
    await accounts.database["users"].update_one({"_id": ObjectId(user)}, {"$set": {"password": hashed}})
    assert await _outcome(accounts) == "AuthenticationFailed"
    assert await _outcome(accounts, password="newer", plain=True) == user


async def test_no_password_is_no_proof(accounts: Accounts) -> None:
    user = await _make(accounts)
    await accounts.users.update(user, {}, SYSTEM, password="")
    assert await _outcome(accounts) == "AuthenticationFailed"
    assert await _outcome(accounts, password="") == "AuthenticationFailed"


async def test_a_temporary_password_has_no_keys(accounts: Accounts) -> None:
    await accounts.users.create(NewUser(username="anna", password="secret", temporary=True), SYSTEM)
    assert await _outcome(accounts) == "AuthenticationFailed"


async def test_what_saslprep_refuses_is_still_a_password(accounts: Accounts) -> None:
    user = await accounts.users.create(NewUser(username="anna", password="k\U0001f511y"), SYSTEM)
    assert await _outcome(accounts, password="k\U0001f511y") == "AuthenticationFailed"
    assert await _outcome(accounts, password="k\U0001f511y", plain=True) == user


async def test_application_passwords_share_the_salt(accounts: Accounts) -> None:
    user = await _make(accounts, enabled_2fa=("totp",))
    asp = await _asp(accounts, user)
    signed_in, client = await _prove(accounts, password=ASP)
    assert final_message(signed_in.signature) == client.verifier
    assert (signed_in.principal.credential, signed_in.source) == (asp, "asp")

    async def used() -> bool:
        found = await accounts.asps.get(user, asp, SYSTEM)
        return found.last_use is not None and bool(found.last_event)

    await _until(used)
    await accounts.asps.delete(user, asp, SYSTEM, Trace())
    assert await _outcome(accounts, password=ASP) == "AuthenticationFailed"


@pytest.mark.parametrize(
    ("scopes", "disabled", "outcome"),
    [
        pytest.param(("imap",), (), "", id="of-the-protocol"),
        pytest.param(("pop3", "smtp"), (), "AccountDisabled", id="of-others"),
        pytest.param(("*",), ("imap",), "AccountDisabled", id="barred-for-the-account"),
    ],
)
async def test_scopes_of_application_passwords(
    accounts: Accounts, scopes: tuple[str, ...], disabled: tuple[str, ...], outcome: str
) -> None:
    user = await _make(accounts, disabled_scopes=disabled)
    await _asp(accounts, user, *scopes)
    assert await _outcome(accounts, password=ASP) == (outcome or user)
    assert await _outcome(accounts, password=ASP, plain=True) == (outcome or user)


async def test_an_application_password_outlives_the_password(accounts: Accounts) -> None:
    """Made before the account had a salt of its own, and used after its password was changed twice."""
    user = await _imported(accounts)
    await _asp(accounts, user)
    assert await _outcome(accounts, password=ASP) == user
    hashed = await accounts.passwords.hash("other")
    await accounts.users.update(user, {}, SYSTEM, password=hashed, hashed=True)
    assert await _outcome(accounts, password=ASP) == user
    await accounts.users.set_password(user, "third", SYSTEM)
    assert [await _outcome(accounts, password=each) for each in (ASP, "third")] == [user] * 2


async def test_an_application_password_that_is_older_gets_its_keys(accounts: Accounts) -> None:
    user = await _make(accounts)
    asp = await _asp(accounts, user)
    await accounts.database["asps"].update_one({"_id": ObjectId(asp)}, {"$unset": {"scram": 1}})
    assert await _outcome(accounts, password=ASP) == "AuthenticationFailed"
    assert await _outcome(accounts, password="abcd efgh ijkl mnop", plain=True) == user

    async def has_keys() -> bool:
        return (await accounts.asps.get(user, asp, SYSTEM)).scram is not None

    await _until(has_keys)
    assert await _outcome(accounts, password=ASP) == user


async def test_one_that_is_over_is_over(accounts: Accounts) -> None:
    user = await _make(accounts)
    asp = await _asp(accounts, user)
    expires = datetime.now(UTC) - timedelta(seconds=1)
    await accounts.database["asps"].update_one({"_id": ObjectId(asp)}, {"$set": {"expires": expires}})
    assert await _outcome(accounts, password=ASP) == "AuthenticationFailed"


async def test_keys_sealed_with_a_lost_key_are_made_anew(accounts: Accounts) -> None:
    user = await _make(accounts)
    other = Scram(Sealer([b"other" + bytes(27)]), b"s" * 32, accounts.pool, "example.com", 4096)
    scram = await other.verifier("secret", (await accounts.users.get(user, SYSTEM)).password_hash, "anna")
    await accounts.records.update(user, {"scram": scram})
    assert await _outcome(accounts) == "AuthenticationFailed"
    assert await _outcome(accounts, plain=True) == user

    async def has_others() -> bool:
        return (await accounts.users.get(user, SYSTEM)).scram != scram

    await _until(has_others)
    assert await _outcome(accounts) == user


async def test_an_account_keeps_its_salt_and_count(accounts: Accounts) -> None:
    """Whatever the configuration says later: its application passwords depend on them."""
    user = await _make(accounts)
    await _asp(accounts, user)
    kept = (await accounts.users.get(user, SYSTEM)).scram
    later = Scram(Sealer([b"k" * 32]), b"t" * 32, accounts.pool, "example.net", 5000)
    accounts.users._scram = accounts.asps.scram = accounts.auth._scram = later
    await accounts.users.set_password(user, "other", SYSTEM)
    found = (await accounts.users.get(user, SYSTEM)).scram
    assert kept is not None
    assert found is not None
    assert (found.salt, found.iterations) == (kept.salt, kept.iterations)
    assert [await _outcome(accounts, password=each) for each in (ASP, "other")] == [user] * 2
    assert (await accounts.auth.salt("nobody", "imap", NETWORK, "imap")).iterations == 5000


async def test_sign_ins_and_refusals_are_in_the_authlog(accounts: Accounts) -> None:
    user = await _make(accounts)
    await _outcome(accounts, password="wrong")
    await _outcome(accounts)
    query = {"user": ObjectId(user), "action": "authentication"}

    async def results() -> bool:
        return sorted([each["result"] async for each in accounts.database["authlog"].find(query)]) == [
            "fail",
            "success",
        ]

    await _until(results)


async def test_the_key_of_salts_is_made_once_and_replaced_when_it_is_lost(accounts: Accounts) -> None:
    records, sealer = SaltKeys(accounts.database), Sealer([b"k" * 32])
    keys = await asyncio.gather(*(salt_key(records, sealer) for _ in range(5)))
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32
    other = Sealer([b"o" * 32])
    replaced = await salt_key(records, other)
    assert replaced != keys[0]
    assert await salt_key(records, other) == replaced
    both = Sealer([b"n" * 32, b"o" * 32])
    assert await salt_key(records, both) == replaced
    document = await accounts.database["scramkeys"].find_one({})
    assert document is not None
    assert other.unseal(document["sealed"], SALT_KEY_CONTEXT) == replaced
