"""Sharing (RFC 4314): each right lets somebody do what it says and nothing more; one check, below all edges."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from bson.objectid import ObjectId

from duckmail.errors import (
    Cannot,
    DuckmailError,
    InvalidInput,
    LimitReached,
    NoSuchMailbox,
    NotPermitted,
    OverQuota,
)
from duckmail.model import search
from duckmail.model.account import Principal
from duckmail.model.flags import to_names
from duckmail.model.message import FlagChange, FlagOperation, Needs, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.model.sharing import (
    ALL_FLAGS,
    ALL_RIGHTS,
    ANYONE,
    MAX_GRANTS,
    Grant,
    effective,
    flag_mask,
    parse_rights,
    with_obsolete,
)
from duckmail.services.mail import Mail
from storage.fsck import check
from storage.store import Store
from storage.views import View
from tests.support.stores import Ears, message, new_account, open_store, put

ALL = Ranges(((1, 4_294_967_295),))
TEAM, SEEN_AS = "Top/Team", "Shared/anna/Top/Team"
ADD, REPLACE = FlagOperation.ADD, FlagOperation.REPLACE


@pytest.mark.parametrize(
    ("grants", "rights"),
    [
        pytest.param([], "", id="nobody"),
        pytest.param([Grant("b", "rl")], "lr", id="its-own"),
        pytest.param([Grant("c", "lr")], "", id="another-one's"),
        pytest.param([Grant(ANYONE, "l"), Grant("b", "r")], "lr", id="all-that-any-gives"),
        pytest.param([Grant("b", "lrw"), Grant("b", "w", negative=True)], "lr", id="without-what-one-takes"),
        pytest.param([Grant("b", "w", negative=True), Grant("b", "lrw")], "lr", id="in-any-order"),
        pytest.param([Grant("b", "lrw"), Grant(ANYONE, "w", negative=True)], "lr", id="taken-from-all"),
        pytest.param([Grant(ANYONE, "lr"), Grant("c", "r", negative=True)], "lr", id="taken-from-another-one"),
    ],
)
def test_effective_rights(grants: list[Grant], rights: str) -> None:
    assert effective(grants, "b") == rights


@pytest.mark.parametrize(
    ("text", "rights"),
    [
        pytest.param("", "", id="none"),
        pytest.param("aetxkpiwsrl", ALL_RIGHTS, id="in-their-order"),
        pytest.param("llrr", "lr", id="each-once"),
        pytest.param("c", "kx", id="c-of-old"),
        pytest.param("dt", "te", id="d-of-old"),
    ],
)
def test_rights_are_read(text: str, rights: str) -> None:
    assert parse_rights(text) == rights


@pytest.mark.parametrize("octet", [pytest.param(chr(number), id=f"{number:02x}") for number in range(256)])
def test_no_other_character_is_a_right(octet: str) -> None:
    if octet in ALL_RIGHTS + "cd":
        assert parse_rights(octet)
    else:
        with pytest.raises(InvalidInput):
            parse_rights(octet)


def test_obsolete_rights_come_with_any_of_theirs() -> None:
    for right in ALL_RIGHTS:
        assert with_obsolete(right) == right + {"k": "c", "x": "c", "t": "d", "e": "d"}.get(right, "")


def test_three_rights_make_up_all_flags() -> None:
    masks = [flag_mask(right) for right in "swt"]
    assert sum(masks) == masks[0] | masks[1] | masks[2] == ALL_FLAGS
    assert not any(flag_mask(right) for right in set(ALL_RIGHTS) - set("swt"))


# -- what each right is for ----------------------------------------------------------------------------------------


async def share(mail: Mail, rights: str, path: str = TEAM, who: str = "bert") -> None:
    await mail.sharing.grant(await mail.mailbox(path), who, rights)


Deed = Callable[[Mail, View], Awaitable[object]]


def _store(flag: str) -> Deed:
    return lambda mail, view: mail.store_flags(view, ALL, FlagChange(ADD, (flag,)))


async def _append(mail: Mail, view: View) -> object:
    return await mail.append(SEEN_AS, [NewMessage(await mail.prepare(message(7)))])


async def _replace(mail: Mail, view: View) -> object:
    return await mail.replace(view, 1, "INBOX", NewMessage(await mail.prepare(message(7))))


async def _fetch(mail: Mail, view: View) -> object:
    return [batch async for batch in mail.fetch(view, [1], Needs.META)]


async def _copy_in(mail: Mail, view: View) -> object:
    own = await mail.open("INBOX", ears := Ears())
    try:
        return await mail.copy(own, ALL, SEEN_AS)
    finally:
        mail.close_view(own, ears)


async def _move_in(mail: Mail, view: View) -> object:
    own = await mail.open("INBOX", ears := Ears())
    try:
        return await mail.move(own, ALL, SEEN_AS)
    finally:
        mail.close_view(own, ears)


async def _listed(mail: Mail, view: View) -> None:
    if SEEN_AS not in {mailbox.path for mailbox in await mail.mailboxes()}:
        raise NoSuchMailbox


# What is done -> the rights that it takes: all of them (RFC 4314 §4, RFC 6851 §4.5, RFC 8508 §3.5).
DEEDS: dict[str, tuple[str, Deed]] = {
    "list": ("l", _listed),
    "subscribe": ("l", lambda mail, view: mail.subscribe(SEEN_AS, True)),
    "status": ("r", lambda mail, view: mail.mailbox(SEEN_AS)),
    "select": ("r", lambda mail, view: mail.open(SEEN_AS, Ears())),
    "fetch": ("r", _fetch),
    "search": ("r", lambda mail, view: mail.search(view, search.All())),
    "sort": ("r", lambda mail, view: mail.sort(view, [1], [])),
    "vanished": ("r", lambda mail, view: mail.vanished(view, 0, 1)),
    "copy-out": ("r", lambda mail, view: mail.copy(view, ALL, "INBOX")),
    "copy-in": ("i", _copy_in),
    "move-out": ("rte", lambda mail, view: mail.move(view, ALL, "INBOX")),
    "move-in": ("i", _move_in),
    "append": ("i", _append),
    "replace": ("rte", _replace),
    "store-seen": ("rs", _store("\\Seen")),
    "store-deleted": ("rt", _store("\\Deleted")),
    "store-flagged": ("rw", _store("\\Flagged")),
    "store-keyword": ("rw", _store("$Label")),
    "expunge": ("re", lambda mail, view: mail.expunge(view)),
    "create": ("k", lambda mail, view: mail.create(SEEN_AS + "/Below")),
    "rename": ("x", lambda mail, view: mail.rename(SEEN_AS, SEEN_AS + "2")),
    "delete": ("x", lambda mail, view: mail.delete(SEEN_AS)),
    "acl": ("a", lambda mail, view: mail.mailbox(SEEN_AS, "a")),
}
ON_VIEWS = {name for name in DEEDS if name.startswith(("store", "move-out", "copy-out", "replace"))} | {
    "fetch",
    "search",
    "sort",
    "vanished",
    "expunge",
}


def _cases() -> list[object]:
    """Each deed with just the rights that it takes, with all others but one of those, and with none."""
    cases: list[object] = []
    for name, (needs, _) in DEEDS.items():
        cases.append(pytest.param(name, needs, True, id=f"{name}-with-{needs}"))
        cases.append(pytest.param(name, "", False, id=f"{name}-with-none"))
        for right in needs:
            others = ALL_RIGHTS.replace(right, "")
            cases.append(pytest.param(name, others, False, id=f"{name}-without-{right}"))
    return cases


@pytest.mark.parametrize(("name", "rights", "may"), _cases())
async def test_a_right_is_for_what_it_says(pair: tuple[Mail, Mail], name: str, rights: str, may: bool) -> None:
    anna, bert = pair
    view = await anna.open(TEAM, ears := Ears())
    try:
        await share(anna, rights)
        if may:
            await DEEDS[name][1](bert, view)
            return
        with pytest.raises((NotPermitted, NoSuchMailbox)) as raised:
            await DEEDS[name][1](bert, view)
        # RFC 4314 §6: for who has no lookup right there is no such mailbox; a view is known to be there.
        known = "l" in rights or name in ON_VIEWS or name == "create"
        assert raised.type is (NotPermitted if known else NoSuchMailbox)
    finally:
        anna.close_view(view, ears)


@pytest.fixture(scope="module")
async def house(mongo_uri: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri, f"t_sharing_rights_{ObjectId()}") as opened:
        yield opened
        await opened.client.drop_database(opened.database.name)


@pytest.fixture
async def pair(house: Store) -> AsyncIterator[tuple[Mail, Mail]]:
    """Anna with a mailbox of two messages, and bert with one message, who may make mailboxes beside that one."""
    anna = Mail(house, await new_account(house))
    bert = Mail(house, await new_account(house, "bert"))
    await anna.create(TEAM)
    await share(anna, "k", "Top")
    await put(anna, TEAM, [1, 2])
    await put(bert, "INBOX", [3])
    yield anna, bert
    for collection in ("users", "mailboxes", "messages", "archived", "expunged"):
        await house.database[collection].delete_many({})


# -- whose things they are -----------------------------------------------------------------------------------------


async def _rows(house: Store, mail: Mail, path: str) -> list[dict[str, object]]:
    mailbox = await mail.mailbox(path)
    query = {"user": ObjectId(mailbox.user), "mailbox": ObjectId(mailbox.id)}
    rows = await house.database["messages"].find(query).sort("uid", 1).to_list(None)
    return [{**row, "names": to_names(row["flags"], mailbox.keywords)} for row in rows]


@pytest.mark.parametrize("moved", [pytest.param(False, id="COPY"), pytest.param(True, id="MOVE")])
async def test_what_goes_to_another_account_is_its_own(house: Store, pair: tuple[Mail, Mail], moved: bool) -> None:
    anna, bert = pair
    await share(anna, "lriw")
    await bert.append("INBOX", [NewMessage(await bert.prepare(message(4)), ("\\Seen", "\\Flagged", "$Label"))])
    (_, before) = await _rows(house, bert, "INBOX")
    view = await bert.open("INBOX", ears := Ears())
    done = await (bert.move if moved else bert.copy)(view, Ranges.of(2), SEEN_AS)
    bert.close_view(view, ears)
    assert (done.source, done.target) == ([2], [3])
    (*_, row) = await _rows(house, anna, TEAM)
    assert row["names"] == ("\\Flagged", "$Label")  # without s
    assert (row["content"], row["emailid"], row["size"]) == (before["content"], before["emailid"], before["size"])
    assert row["_id"] != before["_id"]
    assert row["thread"] != before["thread"]
    archived = await house.database["archived"].find({}).to_list(None)
    assert [each["user"] for each in archived] == ([before["user"]] if moved else [])
    # In the thread that it is in when it comes by itself.
    await put(anna, "INBOX", [4])
    assert (await _rows(house, anna, "INBOX"))[0]["thread"] == row["thread"]
    assert (await bert.mailbox("INBOX")).messages == (1 if moved else 2)
    assert await check(house) == []


async def test_the_owner_is_charged_and_limited(house: Store, pair: tuple[Mail, Mail]) -> None:
    anna, bert = pair
    await share(anna, "lri")
    (used_by_anna, used_by_bert) = [(await mail.usage()).octets for mail in pair]
    users = house.database["users"]
    small = Mail(house, Principal((await bert.mailbox("INBOX")).user, "bert"), used_by_anna + used_by_bert)
    view = await small.open("INBOX", ears := Ears())
    await small.copy(view, ALL, SEEN_AS)
    assert ((await anna.usage()).octets, (await bert.usage()).octets) == (used_by_anna + used_by_bert, used_by_bert)
    for deed in (small.copy(view, ALL, SEEN_AS), small.move(view, ALL, SEEN_AS), _append(small, view)):
        with pytest.raises(OverQuota):
            await deed
    small.close_view(view, ears)
    assert (await bert.mailbox("INBOX")).messages == 1
    await users.update_one({"username": "bert"}, {"$set": {"quota": 1}})  # its own is not asked
    await users.update_one({"username": "anna"}, {"$set": {"quota": 1 << 20}})
    await _append(bert, view)


async def test_within_the_owners_mailboxes_a_message_stays_what_it_is(house: Store, pair: tuple[Mail, Mail]) -> None:
    anna, bert = pair
    await share(anna, ALL_RIGHTS)
    await share(anna, ALL_RIGHTS, "INBOX")
    before = await _rows(house, anna, TEAM)
    view = await bert.open(SEEN_AS, ears := Ears())
    await bert.move(view, ALL, "Shared/anna/INBOX")
    bert.close_view(view, ears)
    assert [row["_id"] for row in await _rows(house, anna, "INBOX")] == [row["_id"] for row in before]


async def test_who_is_removed_has_no_right_left(house: Store, pair: tuple[Mail, Mail]) -> None:
    anna, bert = pair
    await share(anna, "lr")
    await share(anna, "l", who=ANYONE)
    await share(anna, "w", who="-bert")
    await bert.subscribe(SEEN_AS, True)
    removal = await house.users.remove((await bert.mailbox("INBOX")).user)
    team = await anna.mailbox(TEAM)
    assert [each.identifier for each in await anna.sharing.grants(team)] == ["anna", ANYONE]  # it may come back
    assert len(team.acl) == 3
    await house.users.removals.end(removal.id, house.committer)
    assert (await anna.mailbox(TEAM)).acl == (Grant(ANYONE, "l"),)
    again = Mail(house, await new_account(house, "bert"))
    assert again.places.rights(await again.mailbox(SEEN_AS, "l")) == "l"
    await put(anna, TEAM, [5])  # the mailbox is as before


async def test_names_without_rights_are_no_names(pair: tuple[Mail, Mail]) -> None:
    anna, bert = pair
    await share(anna, "w")
    await anna.create("Hidden", hidden=True)
    await share(anna, ALL_RIGHTS, "Hidden")
    told = set()
    for name in (SEEN_AS, "Shared/anna/None", "Shared/anna/Hidden", "Shared/nobody/Team", "Shared/anna", "Shared/"):
        with pytest.raises(DuckmailError) as raised:
            await bert.mailbox(name)
        told.add((raised.type, raised.value.text) if not name.endswith("/") else None)
    assert told == {(NoSuchMailbox, "No such mailbox"), None}
    assert not any("Hidden" in mailbox.path for mailbox in await bert.mailboxes())


async def test_an_own_name_hides_a_shared_one(house: Store, pair: tuple[Mail, Mail]) -> None:
    anna, bert = pair
    await share(anna, "lr")
    mine = await house.mailboxes.create((await bert.mailbox("INBOX")).user, SEEN_AS)  # from before there was sharing
    assert (await bert.mailbox(SEEN_AS)).id == mine.id
    assert [mailbox.id for mailbox in await bert.mailboxes() if mailbox.path == SEEN_AS] == [mine.id]


async def test_the_acl_is_bounded(pair: tuple[Mail, Mail], house: Store) -> None:
    anna, _ = pair
    team = await anna.mailbox(TEAM)
    many = [Grant(str(ObjectId()), "l") for _ in range(MAX_GRANTS)]
    await house.grants.change(team.user, team.id, lambda _: many)
    with pytest.raises(LimitReached):
        await share(anna, "l")
    assert len((await anna.mailbox(TEAM)).acl) == MAX_GRANTS


async def test_shared_ones_are_found_by_an_index(house: Store, pair: tuple[Mail, Mail]) -> None:
    who = ObjectId((await pair[1].mailbox("INBOX")).user)
    query = {"acl.who": {"$in": [who, ANYONE]}, "path": {"$exists": True}}
    plan = await house.database["mailboxes"].find(query).limit(10).explain()
    text = str(plan["queryPlanner"]["winningPlan"])
    assert "acl.who" in text
    assert "COLLSCAN" not in text


async def test_rights_count_at_once_in_another_process(mongo_uri: str, house: Store, pair: tuple[Mail, Mail]) -> None:
    """Without Redis and without waiting for a poll: a view of another account is looked at anew each time."""
    anna, bert = pair
    await share(anna, "lrs")
    async with open_store(mongo_uri, house.database.name, slot="other") as other:
        far = Mail(other, Principal((await bert.mailbox("INBOX")).user, "bert"))
        view = await far.open(SEEN_AS, ears := Ears())
        await far.store_flags(view, ALL, FlagChange(ADD, ("\\Seen",)))
        await share(anna, "lr")
        with pytest.raises(NotPermitted):
            await far.store_flags(view, ALL, FlagChange(REPLACE, ()))
        await share(anna, "l")
        with pytest.raises(NotPermitted):
            await far.search(view, search.All())
        far.close_view(view, ears)


async def test_replacing_flags_leaves_those_that_may_not_be_changed(pair: tuple[Mail, Mail], house: Store) -> None:
    anna, bert = pair
    view = await anna.open(TEAM, ears := Ears())
    await anna.store_flags(view, Ranges.of(1), FlagChange(REPLACE, ("\\Deleted", "\\Flagged", "\\Seen", "$Old")))
    await share(anna, "lrw")
    await bert.store_flags(view, ALL, FlagChange(REPLACE, ("\\Draft", "\\Deleted", "$New")))
    assert [row["names"] for row in await _rows(house, anna, TEAM)] == [
        ("\\Deleted", "\\Seen", "\\Draft", "$New"),
        ("\\Draft", "$New"),
    ]
    anna.close_view(view, ears)
    assert await check(house) == []


async def test_a_move_to_where_it_is_drops_flags_and_loses_nothing(pair: tuple[Mail, Mail], house: Store) -> None:
    anna, bert = pair
    await put(anna, TEAM, [8], ("\\Flagged", "\\Seen"))
    await share(anna, "lriste")
    view = await bert.open(SEEN_AS, ears := Ears())
    done = await bert.move(view, Ranges.of(3), SEEN_AS)
    assert (done.source, done.target) == ([3], [4])
    assert list(view.uids) == [1, 2, 4]
    bert.close_view(view, ears)
    assert [row["names"] for row in await _rows(house, anna, TEAM)] == [(), (), ("\\Seen",)]
    assert await check(house) == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("Shared//Top", id="no-owner"),
        pytest.param("Shared/anna//Top", id="empty-level"),
        pytest.param("Shared/anna/Top/Team/", id="ends-in-separator"),
        pytest.param("Shared/anna/Top\0", id="nul"),
        pytest.param("Shared/../Shared/anna/Top/Team", id="dots"),
        pytest.param("Shared/a.nna/Top/Team", id="dots-in-the-user-name"),
        pytest.param("Shared/ANNA/Top/Team", id="upper-case"),
        pytest.param("shared/anna/Top/Team", id="lower-case-namespace"),
        pytest.param("Shared/bert/INBOX", id="oneself"),
        pytest.param("Shared/{$ne:1}/Top/Team", id="operator"),
        pytest.param("Shared/Shared/anna/Top/Team", id="twice"),
        pytest.param("Shared/" + "a" * 5000, id="long"),
    ],
)
async def test_no_other_name_leads_there(pair: tuple[Mail, Mail], name: str) -> None:
    anna, bert = pair
    await share(anna, ALL_RIGHTS)
    for deed in (bert.mailbox(name), bert.open(name, Ears()), bert.delete(name), bert.subscribe(name, True)):
        with pytest.raises((NoSuchMailbox, InvalidInput, Cannot)):
            await deed
    assert await anna.mailbox(TEAM, "a")
