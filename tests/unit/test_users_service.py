"""Accounts: made, found, listed, changed and removed, over a real database."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from duckmail.errors import AddressTaken, InvalidInput, NotFound, NotPermitted, UnsupportedHash, UsernameTaken
from duckmail.model.account import Principal, UserQuery
from duckmail.services.access import SYSTEM
from duckmail.services.folders import MONTH_MS
from duckmail.services.users import NewUser, normalise_tags
from storage.mailboxes import Mailboxes
from storage.mongo.transactions import Transactions
from tests.support.accounts import Accounts, open_accounts


@pytest.fixture
async def accounts(mongo_uri: str, database_name: str) -> AsyncIterator[Accounts]:
    async with open_accounts(mongo_uri, database_name) as opened:
        yield opened


async def _folders(accounts: Accounts, user: str) -> dict[str, tuple[str | None, int, bool]]:
    listed = await Mailboxes(accounts.database, Transactions(accounts.database.client)).list(user)
    assert len({mailbox.uidvalidity for mailbox in listed}) == 1
    return {mailbox.path: (mailbox.special_use, mailbox.retention, mailbox.subscribed) for mailbox in listed}


async def test_a_new_account_has_an_address_and_five_mailboxes(accounts: Accounts) -> None:
    user = await accounts.users.create(NewUser(username="Anna.Bee", password="secret"), SYSTEM)
    made = await accounts.users.get(user, SYSTEM)
    assert (made.username, made.address, made.active) == ("anna.bee", "anna.bee@example.com", True)
    assert [record.view for record in await accounts.addresses.by_user(user)] == ["annabee@example.com"]
    assert await _folders(accounts, user) == {
        "INBOX": (None, 0, True),
        "Sent Mail": ("\\Sent", 0, True),
        "Trash": ("\\Trash", MONTH_MS, True),
        "Drafts": ("\\Drafts", 0, True),
        "Junk": ("\\Junk", MONTH_MS, True),
    }


async def test_mailboxes_are_named_in_the_language_or_as_asked(accounts: Accounts) -> None:
    new = NewUser(
        username="anna", attributes={"language": "et_EE", "retention": 1000}, folders={"sent": "Välja/Saadetud"}
    )
    folders = await _folders(accounts, await accounts.users.create(new, SYSTEM))
    assert folders == {
        "INBOX": (None, 1000, True),
        "Välja/Saadetud": ("\\Sent", 1000, True),
        "Prügikast": ("\\Trash", 1000, True),
        "Mustandid": ("\\Drafts", 1000, True),
        "Rämpspost": ("\\Junk", 1000, True),
    }


@pytest.mark.parametrize(
    ("new", "error"),
    [
        pytest.param(NewUser(username="an.na", address=""), UsernameTaken, id="username-but-for-dots"),
        pytest.param(NewUser(username="bob", address="a.nna+x@example.com"), AddressTaken, id="address-but-for-dots"),
        pytest.param(NewUser(username="bob", address="*@example.com"), InvalidInput, id="wildcard-address"),
        pytest.param(NewUser(username="bob", address="bob"), InvalidInput, id="no-domain"),
        pytest.param(NewUser(username="b..ob"), InvalidInput, id="bad-username"),
        pytest.param(NewUser(username="bob", password="x" * 1025), InvalidInput, id="long-password"),
        pytest.param(NewUser(username="bob", password="$2b$x", hashed=True), UnsupportedHash, id="hash-format"),
        pytest.param(NewUser(username="bob", folders={"sent": "INBOX"}), InvalidInput, id="same-mailbox-twice"),
    ],
)
async def test_what_cannot_be_made_leaves_nothing(accounts: Accounts, new: NewUser, error: type[Exception]) -> None:
    await accounts.users.create(NewUser(username="anna"), SYSTEM)
    with pytest.raises(error):
        await accounts.users.create(new, SYSTEM)
    for collection, count in (("users", 1), ("addresses", 1), ("mailboxes", 5)):
        assert await accounts.database[collection].count_documents({}) == count, collection


async def test_names_to_sign_in_with(accounts: Accounts) -> None:
    user = await accounts.users.create(NewUser(username="anna.bee"), SYSTEM)
    looks = await accounts.users.create(NewUser(username="kim@example.org", address=""), SYSTEM)
    await accounts.addresses.insert_alias("example.net", "example.com")
    await accounts.addresses.insert_forwarded("fwd@example.com", "fwd@example.com", ["x@example.org"])
    for name, found in {
        "anna.bee": user,
        " ANNA.B.EE ": user,
        "an.nabee+label@EXAMPLE.com": user,
        "annabee@example.net": user,
        "kim@example.org": looks,
        "fwd@example.com": None,
        "annabee@example.org": None,
        "@": None,
        "": None,
    }.items():
        signed = await accounts.users.sign_in_name(name)
        assert (signed.id if signed else None) == found, name


async def test_listing_pages_both_ways(accounts: Accounts) -> None:
    made = [await accounts.users.create(NewUser(username=f"user{number}"), SYSTEM) for number in range(5)]
    query = UserQuery()
    first = await accounts.users.list(query, 2, SYSTEM)
    assert [account.user.id for account in first.accounts] == made[:2]
    assert (first.total, first.has_previous, first.has_next) == (5, False, True)
    second = await accounts.users.list(query, 2, SYSTEM, after=made[1])
    assert [account.user.id for account in second.accounts] == made[2:4]
    assert (second.has_previous, second.has_next) == (True, True)
    last = await accounts.users.list(query, 2, SYSTEM, after=made[3])
    assert (last.has_previous, last.has_next) == (True, False)
    back = await accounts.users.list(query, 2, SYSTEM, before=made[2])
    assert [account.user.id for account in back.accounts] == made[:2]
    assert (back.has_previous, back.has_next) == (False, True)


async def test_listing_is_narrowed_literally(accounts: Accounts) -> None:
    tags = normalise_tags([" Green", "blue", "GREEN"])
    assert tags == ("blue", "Green")
    anna = await accounts.users.create(
        NewUser(username="an.na", attributes={"tags": tags, "targets": ("Fwd+1@x.org",)}), SYSTEM
    )
    bob = await accounts.users.create(NewUser(username="bob", address="$name@example.org"), SYSTEM)
    for query, expected in [
        (UserQuery(text="n.N"), [anna]),  # dots of the user name do not matter; an.na@ does not contain it
        (UserQuery(text="@EXAMPLE.com"), [anna]),
        (UserQuery(text="$name"), [bob]),
        (UserQuery(text=".*"), []),
        (UserQuery(text="."), [anna, bob]),
        (UserQuery(forward="fwd+1"), [anna]),
        (UserQuery(forward="fwd.1"), []),
        (UserQuery(tags=("green", "red")), [anna]),
        (UserQuery(required_tags=("green", "red")), []),
        (UserQuery(required_tags=("green", "BLUE")), [anna]),
    ]:
        listed = await accounts.users.list(query, 10, SYSTEM)
        assert [account.user.id for account in listed.accounts] == expected, query


async def test_used_is_the_sum_of_the_mailboxes(accounts: Accounts) -> None:
    user = await accounts.users.create(NewUser(username="anna", attributes={"quota": 500}), SYSTEM)
    await accounts.database["mailboxes"].update_many({}, {"$set": {"size": 11}})
    account = await accounts.users.account(user, SYSTEM)
    assert (account.used, account.allowed.quota, account.allowed.recipients) == (55, 500, 2000)


async def test_a_new_password_or_suspension_ends_sign_ins(accounts: Accounts) -> None:
    user = await accounts.users.create(NewUser(username="anna", password="old", temporary=True), SYSTEM)
    assert (await accounts.users.update(user, {"name": "Anna"}, SYSTEM)).auth_version == 0
    changed = await accounts.users.set_password(user, "new", SYSTEM)
    assert (changed.auth_version, changed.temp_password_hash, changed.name) == (1, "", "Anna")
    assert (await accounts.passwords.verify("new", changed.password_hash)).right
    assert (await accounts.users.update(user, {"suspended": True}, SYSTEM)).auth_version == 2
    with pytest.raises(NotFound):
        await accounts.users.update("0" * 24, {"name": "x"}, SYSTEM)


async def test_a_removed_account_is_gone_at_once_and_can_be_restored(accounts: Accounts) -> None:
    user = await accounts.users.create(NewUser(username="anna", password="secret"), SYSTEM)
    moment = datetime(2030, 1, 2, tzinfo=UTC)
    removal = await accounts.users.delete(user, SYSTEM, moment)
    assert (removal.existed, removal.addresses) == (True, 1)
    with pytest.raises(NotFound):
        await accounts.users.get(user, SYSTEM)
    assert await accounts.addresses.find(["anna@example.com"]) == {}
    assert await _mailbox_paths(accounts) == []
    record = await accounts.database["deletedusers"].find_one({})
    assert record is not None
    assert record["deleteAfter"] == moment
    assert record["account"]["username"] == "anna"
    assert [address["address"] for address in record["addresses"]] == ["anna@example.com"]
    stubs = await accounts.database["mailboxes"].find({"gone": {"$exists": True}}).to_list(None)
    assert {(stub["was"], stub["modseq"]) for stub in stubs} >= {("INBOX", 2), ("Junk", 2)}
    assert not (await accounts.users.delete(user, SYSTEM)).existed
    assert await accounts.users.create(NewUser(username="anna"), SYSTEM) != user


async def _mailbox_paths(accounts: Accounts) -> list[str]:
    living = await accounts.database["mailboxes"].find({"path": {"$exists": True}}).to_list(None)
    return [document["path"] for document in living]


async def test_a_user_reaches_only_its_own_account(accounts: Accounts) -> None:
    anna = await accounts.users.create(NewUser(username="anna"), SYSTEM)
    bob = await accounts.users.create(NewUser(username="bob"), SYSTEM)
    by = Principal(user=anna, username="anna")
    assert (await accounts.users.get(anna, by)).id == anna
    users = accounts.users
    for call in (
        lambda: users.get(bob, by),
        lambda: users.account(bob, by),
        lambda: users.update(bob, {"name": "x"}, by),
        lambda: users.set_password(bob, "x", by),
        lambda: users.delete(anna, by),
        lambda: users.resolve("anna", by),
        lambda: users.list(UserQuery(), 10, by),
        lambda: users.create(NewUser(username="eve"), by),
    ):
        with pytest.raises(NotPermitted):
            await call()
