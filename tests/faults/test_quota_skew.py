"""Two processes that fill different mailboxes of one account do not exceed its quota between them."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from duckmail.errors import OverQuota
from duckmail.model.account import Principal
from duckmail.model.message import NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage.store import Store
from tests.support.stores import Ears, message, new_account, open_store, put

ROUNDS = 12
SIZE = len(message(1))


@dataclass(frozen=True, slots=True)
class Both:
    """Two processes' stores over one database, and an account with the mailboxes a and b."""

    one: Store
    other: Store
    principal: Principal


@pytest.fixture
async def both(mongo_uri: str, database_name: str) -> AsyncIterator[Both]:
    async with (
        open_store(mongo_uri, database_name, slot="one") as one,
        open_store(mongo_uri, database_name, slot="other") as other,
    ):
        principal = await new_account(one)
        for path in ("a", "b"):
            await one.mailboxes.create(principal.user, path)
        yield Both(one, other, principal)


async def outcome(mail: Mail, path: str) -> bool:
    """Whether there was room."""
    try:
        await mail.append(path, [NewMessage(await mail.prepare(message(1)))])
    except OverQuota:
        return False
    return True


async def test_there_is_room_for_one_of_two(both: Both) -> None:
    one, other, principal = both.one, both.other, both.principal
    for number in range(ROUNDS):
        quota = (number + 1) * SIZE
        mails = [(Mail(store, principal, quota), path) for store, path in ((one, "a"), (other, "b"))]
        done = await asyncio.gather(*(outcome(mail, path) for mail, path in mails))
        assert sorted(done) == [False, True], number
        assert await one.mailboxes.used(principal.user) == quota


async def test_a_copy_and_an_append(both: Both) -> None:
    one, other, principal = both.one, both.other, both.principal
    await put(Mail(one, principal), "INBOX", [1])

    async def copied(mail: Mail) -> bool:
        ears = Ears()
        view = await mail.open("INBOX", ears)
        try:
            await mail.copy(view, Ranges.of(1), "b")
        except OverQuota:
            return False
        finally:
            mail.close_view(view, ears)
        return True

    for number in range(ROUNDS):
        quota = (number + 2) * SIZE
        done = await asyncio.gather(outcome(Mail(one, principal, quota), "a"), copied(Mail(other, principal, quota)))
        assert sorted(done) == [False, True], number
        assert await one.mailboxes.used(principal.user) == quota


async def test_there_is_room_for_one_message(both: Both) -> None:
    one, other, principal = both.one, both.other, both.principal
    for number in range(ROUNDS):
        await one.users.update(principal.user, {"messages": number + 1})
        done = await asyncio.gather(outcome(Mail(one, principal), "a"), outcome(Mail(other, principal), "b"))
        assert sorted(done) == [False, True], number
        assert (await one.mailboxes.held(principal.user))[1] == number + 1
