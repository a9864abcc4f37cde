"""Access tokens: how long they live, and what ends them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from bson.binary import Binary

from duckmail.services.access import SYSTEM
from duckmail.services.tokens import LIFETIME, TTL
from duckmail.services.users import NewUser
from tests.support.accounts import Accounts, open_accounts


@pytest.fixture
async def accounts(mongo_uri: str, database_name: str) -> AsyncIterator[Accounts]:
    async with open_accounts(mongo_uri, database_name) as opened:
        yield opened


async def _set(accounts: Accounts, **fields: object) -> None:
    await accounts.database["tokens"].update_one({}, {"$set": fields})


async def _expires(accounts: Accounts) -> datetime:
    document = await accounts.database["tokens"].find_one({})
    assert document is not None
    found = document["expires"]
    assert isinstance(found, datetime)
    return found


async def test_only_a_digest_is_stored(accounts: Accounts) -> None:
    token = await accounts.tokens.issue("root")
    document = await accounts.database["tokens"].find_one({})
    assert document is not None
    assert token not in str(document)
    assert isinstance(document["_id"], bytes | Binary)
    grant = await accounts.tokens.check(token)
    assert grant is not None
    assert (grant.role, grant.user) == ("root", "")


@pytest.mark.parametrize("token", ["", "x", "0" * 39, "0" * 41, "0" * 40, "é" * 40, "0" * 40 + "\n"], ids=repr)
async def test_what_is_no_token_gives_nothing(accounts: Accounts, token: str) -> None:
    assert await accounts.tokens.check(token) is None


async def test_a_use_extends_the_life_at_most_to_its_end(accounts: Accounts) -> None:
    token = await accounts.tokens.issue("root")
    now = datetime.now(UTC)
    await _set(accounts, expires=now + timedelta(days=1))
    assert await accounts.tokens.check(token) is not None
    assert now + TTL - timedelta(minutes=1) < await _expires(accounts) <= now + TTL + timedelta(minutes=1)
    created = now - LIFETIME + timedelta(days=2)
    await _set(accounts, expires=now + timedelta(hours=1), created=created)
    assert await accounts.tokens.check(token) is not None
    assert abs(await _expires(accounts) - (created + LIFETIME)) < timedelta(seconds=1)


async def test_an_expired_token_gives_nothing_before_it_is_swept(accounts: Accounts) -> None:
    token = await accounts.tokens.issue("root")
    await _set(accounts, expires=datetime.now(UTC) - timedelta(milliseconds=1))
    assert await accounts.tokens.check(token) is None


async def test_a_token_ends_with_its_account(accounts: Accounts) -> None:
    identifier = await accounts.users.create(NewUser(username="anna"), SYSTEM)
    token = await accounts.tokens.issue("user", await accounts.users.get(identifier, SYSTEM))
    grant = await accounts.tokens.check(token)
    assert grant is not None
    assert (grant.user, grant.username) == (identifier, "anna")
    await accounts.users.delete(identifier, SYSTEM)
    assert await accounts.tokens.check(token) is None
