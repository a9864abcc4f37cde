"""The maildrop: a snapshot, exact octets, unique-ids that stay, and changes at the end alone."""

import re
from collections.abc import AsyncIterator

import pytest

from duckmail.errors import InUse, NotFound, RateLimited, TemporaryError, Unavailable
from duckmail.model.account import Principal
from duckmail.model.flags import DELETED, FLAGGED, SEEN
from duckmail.model.mailbox import INBOX
from duckmail.model.message import FlagChange, FlagOperation, Needs, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from duckmail.services.maildrop import AHEAD_MESSAGES, Maildrop, Maildrops, cut
from storage.store import Store
from storage.views import View
from tests.support.stores import Ears, message, new_account, open_store, put

TRASH = "Trash"
ALL = Ranges(((1, 4_294_967_295),))
BODY = b"Subject: x\r\n\r\none\r\n.two\r\n\r\nfour"


@pytest.fixture
async def store(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[Store]:
    async with open_store(mongo_uri, database_name, redis_url) as opened:
        yield opened


@pytest.fixture
async def anna(store: Store) -> Principal:
    principal = await new_account(store)
    await store.mailboxes.create(principal.user, TRASH, "\\Trash")
    return principal


@pytest.fixture
def mail(store: Store, anna: Principal) -> Mail:
    return Mail(store, anna)


@pytest.fixture
def maildrops(store: Store) -> Maildrops:
    return Maildrops(store, lambda principal: Mail(store, principal))


async def put_octets(mail: Mail, octets: bytes, prefix: bytes = b"") -> None:
    await mail.append(INBOX, [NewMessage(await mail.prepare(octets), prefix=prefix)])


async def read(maildrop: Maildrop, number: int) -> bytes:
    return b"".join([piece async for piece in maildrop.retrieve(number)])


async def top(maildrop: Maildrop, number: int, lines: int) -> bytes:
    return b"".join([piece async for piece in maildrop.top(number, lines)])


async def look(mail: Mail, path: str) -> View:
    """A view of the mailbox as it is now; nobody holds it any more."""
    ears = Ears()
    view = await mail.open(path, ears)
    mail.close_view(view, ears)
    return view


async def ids(maildrops: Maildrops, principal: Principal) -> list[str]:
    maildrop = await maildrops.open(principal)
    found = [entry.unique_id for _, entry in maildrop.entries()]
    await maildrop.close()
    assert all(re.fullmatch("[\x21-\x7e]{1,70}", each) for each in found)
    return found


# The snapshot


async def test_sizes_and_octets_are_exact(mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    stored = [
        (BODY, b"X-Prefix: yes\r\n"),
        (b"", b""),
        (b"no header", b""),
        (b"a\n.\nb", b""),
        (b"x" * 700_000, b"Y: z\r\n"),
    ]
    for octets, prefix in stored:
        await put_octets(mail, octets, prefix)
    maildrop = await maildrops.open(anna)
    for number, (octets, prefix) in enumerate(stored, 1):
        assert await read(maildrop, number) == prefix + octets
        assert maildrop.entry(number).size == len(prefix + octets)
    assert maildrop.status() == (len(stored), sum(len(octets + prefix) for octets, prefix in stored))
    await maildrop.close()


async def test_large_attachments(mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    """What is kept decoded, in parts, comes out as it came in."""
    lines = b"".join(b"%076d\r\n" % number for number in range(10_000))
    octets = (
        b"Subject: big\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + lines
    )
    await put_octets(mail, octets)
    maildrop = await maildrops.open(anna)
    assert await read(maildrop, 1) == octets
    assert (await top(maildrop, 1, 3)).endswith(b"%076d\r\n" % 2)
    assert await top(maildrop, 1, 1_000_000) == octets
    await maildrop.close()


@pytest.mark.parametrize(
    ("octets", "lines", "expected"),
    [
        pytest.param(BODY, 0, b"Subject: x\r\n\r\n", id="header-and-empty-line"),
        pytest.param(BODY, 1, b"Subject: x\r\n\r\none\r\n", id="one-line"),
        pytest.param(BODY, 3, b"Subject: x\r\n\r\none\r\n.two\r\n\r\n", id="empty-lines-count"),
        pytest.param(BODY, 4, BODY, id="an-unfinished-line"),
        pytest.param(BODY, 1 << 40, BODY, id="more-than-there-are"),
        pytest.param(b"Subject: x\r\n", 5, b"Subject: x\r\n", id="no-body"),
        pytest.param(b"Subject: x\n\na\nb\n", 1, b"Subject: x\n\na\n", id="line-feeds"),
        pytest.param(b"", 1, b"", id="empty"),
    ],
)
async def test_top(
    mail: Mail, maildrops: Maildrops, anna: Principal, octets: bytes, lines: int, expected: bytes
) -> None:
    await put_octets(mail, octets, b"P: q\r\n")
    maildrop = await maildrops.open(anna)
    assert await top(maildrop, 1, lines) == b"P: q\r\n" + expected
    await maildrop.close()


def test_lines_are_cut_whatever_the_piece() -> None:
    assert cut(b"\n" * 1000, 999) == (999, 0)
    assert cut(b"a\nb\nc", 2) == (4, 0)
    assert cut(b"a\nb\nc", 3) == (5, 1)
    assert cut(b"", 3) == (0, 3)


async def test_the_newest_oldest_first(store: Store, mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    await put(mail, INBOX, range(7))
    await store.users.update(anna.user, {"pop3_max_messages": 3})
    maildrop = await maildrops.open(anna)
    assert maildrop.status()[0] == 3
    assert [await read(maildrop, number) for number in (1, 2, 3)] == [message(number) for number in (4, 5, 6)]
    for number in (0, 4, -1):
        with pytest.raises(NotFound):
            maildrop.entry(number)
    await maildrop.close()


async def test_nothing_shifts(mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    """New mail is of the next session; what IMAP removes leaves a gap."""
    await put(mail, INBOX, range(4))
    maildrop = await maildrops.open(anna)
    before = list(maildrop.entries())
    await put(mail, INBOX, [9])
    view = await look(mail, INBOX)
    await mail.store_flags(view, Ranges.of(2), FlagChange(FlagOperation.ADD, ("\\Deleted",)))
    await mail.expunge(view, Ranges.of(2))
    await mail.move(view, Ranges.of(3), TRASH)
    assert list(maildrop.entries()) == before
    for number in (2, 3):
        with pytest.raises(TemporaryError, match="removed"):
            await read(maildrop, number)
        with pytest.raises(TemporaryError, match="removed"):
            await top(maildrop, number, 1)
    assert await read(maildrop, 4) == message(3)
    maildrop.delete(2)
    maildrop.delete(4)
    await maildrop.commit()
    await maildrop.close()
    assert list((await look(mail, INBOX)).uids) == [1, 5]
    assert len((await look(mail, TRASH)).uids) == 2


async def test_in_any_order_with_some_loaded_ahead(mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    count = AHEAD_MESSAGES + 8
    for number in range(count):
        await put_octets(mail, message(number) + (b"y" * 100_000 if number % 7 == 3 else b""))
    maildrop = await maildrops.open(anna)
    for order in (range(1, count + 1), range(count, 0, -1), [1, 2, 2, 1, 5, 6, 7, 3, 8, 9]):
        for number in order:
            octets = await read(maildrop, number)
            assert octets.startswith(message(number - 1)), number
            assert len(octets) == maildrop.entry(number).size
    await maildrop.close()


# Unique-ids


async def test_unique_ids_are_email_ids_and_stay(mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    await put(mail, INBOX, range(2))
    before = await ids(maildrops, anna)
    assert len(set(before)) == 2
    found = [row async for batch in mail.fetch(await look(mail, INBOX), [1, 2], Needs.META) for row in batch]
    assert before == [row.emailid for row in found]
    assert await ids(maildrops, anna) == before
    await mail.move(await look(mail, INBOX), Ranges.of(1), TRASH)
    assert await ids(maildrops, anna) == before[1:]
    await mail.move(await look(mail, TRASH), ALL, INBOX)
    assert await ids(maildrops, anna) == before[::-1]


async def test_a_copy_has_one_of_its_own_and_keeps_it(mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    await put(mail, INBOX, [1])
    [original] = await ids(maildrops, anna)
    for _ in range(2):
        await mail.copy(await look(mail, INBOX), Ranges.of(1), INBOX)
    found = await ids(maildrops, anna)
    assert found[0] == original
    assert len(set(found)) == 3
    maildrop = await maildrops.open(anna)
    maildrop.delete(1)
    await maildrop.commit()
    await maildrop.close()
    assert await ids(maildrops, anna) == found[1:], "what is left is not taken for what is gone"
    await mail.move(await look(mail, TRASH), ALL, INBOX)
    assert await ids(maildrops, anna) == [*found[1:], original]


# The end of a session


async def test_deleted_mail_goes_to_trash_and_what_was_read_is_seen(
    mail: Mail, maildrops: Maildrops, anna: Principal
) -> None:
    await put(mail, INBOX, range(4), ("\\Flagged",))
    maildrop = await maildrops.open(anna)
    await read(maildrop, 1)
    await read(maildrop, 2)
    await top(maildrop, 4, 1)
    maildrop.delete(2)
    maildrop.delete(3)
    assert list((await look(mail, INBOX)).flags) == [FLAGGED] * 4, "nothing before the end"
    await maildrop.commit()
    inbox, trash = await look(mail, INBOX), await look(mail, TRASH)
    assert (list(inbox.uids), list(inbox.flags)) == ([1, 4], [FLAGGED | SEEN, FLAGGED])
    assert list(trash.flags) == [FLAGGED | SEEN] * 2
    await maildrop.close()


async def test_a_message_that_was_read_in_part_is_not_seen(mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    await put(mail, INBOX, [1])
    maildrop = await maildrops.open(anna)
    pieces = maildrop.retrieve(1)
    await anext(pieces)
    await pieces.aclose()
    await maildrop.commit()
    await maildrop.close()
    assert list((await look(mail, INBOX)).flags) == [0]


async def test_without_commit_nothing_changes(mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    await put(mail, INBOX, range(3))
    before = (await look(mail, INBOX)).mailbox
    maildrop = await maildrops.open(anna)
    await read(maildrop, 1)
    maildrop.delete(2)
    await maildrop.close()
    assert (await look(mail, INBOX)).mailbox == before


async def test_reset_takes_deletions_back(mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    await put(mail, INBOX, range(3))
    maildrop = await maildrops.open(anna)
    whole = maildrop.status()
    maildrop.delete(1)
    maildrop.delete(3)
    assert maildrop.status() == (1, maildrop.entry(2).size)
    with pytest.raises(NotFound, match="deleted"):
        maildrop.delete(3)
    maildrop.reset()
    assert maildrop.status() == whole
    maildrop.delete(2)
    await maildrop.commit()
    await maildrop.close()
    assert list((await look(mail, INBOX)).uids) == [1, 3]


@pytest.mark.parametrize("trash", [True, False], ids=["by-configuration", "without-a-trash"])
async def test_deleted_mail_is_expunged(store: Store, mail: Mail, anna: Principal, trash: bool) -> None:
    await put(mail, INBOX, range(4))
    view = await look(mail, INBOX)
    # \Deleted already, and not by this session: it stays.
    await mail.store_flags(view, Ranges.of(4), FlagChange(FlagOperation.ADD, ("\\Deleted",)))
    if not trash:
        await mail.delete(TRASH)
    maildrop = await Maildrops(store, lambda principal: Mail(store, principal), expunge=trash).open(anna)
    await read(maildrop, 1)
    maildrop.delete(2)
    maildrop.delete(3)
    await maildrop.commit()
    await maildrop.close()
    view = await look(mail, INBOX)
    assert (list(view.uids), list(view.flags)) == ([1, 4], [SEEN, DELETED])
    assert await store.database["archived"].count_documents({}) == 2
    if trash:
        assert len((await look(mail, TRASH)).uids) == 0


async def test_thousands_are_a_few_statements(store: Store, mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    count = 2500
    content = await mail.prepare(message(1))
    for start in range(0, count, 500):
        await mail.append(INBOX, [NewMessage(content) for _ in range(start, start + 500)])
    await store.users.update(anna.user, {"pop3_max_messages": count})
    await store.database.command("profile", 2)
    profile = store.database["system.profile"]
    maildrop = await maildrops.open(anna)
    opened = await profile.count_documents({"ns": {"$ne": profile.full_name}})
    for number in range(1, count):
        maildrop.delete(number)
    await maildrop.commit()
    done = await profile.count_documents({"ns": {"$ne": profile.full_name}})
    await store.database.command("profile", 0)
    await maildrop.close()
    assert list((await look(mail, INBOX)).uids) == [count]
    assert len((await look(mail, TRASH)).uids) == count - 1
    assert opened < 20
    assert done - opened < 60


async def test_a_session_that_lost_its_maildrop_changes_nothing(
    store: Store, mail: Mail, maildrops: Maildrops, anna: Principal
) -> None:
    await put(mail, INBOX, range(2))
    maildrop = await maildrops.open(anna)
    maildrop.delete(1)
    await store.database["maildrops"].delete_many({})  # it stalled, another session came and went
    with pytest.raises(InUse):
        await maildrop.commit()
    await maildrop.close()
    assert list((await look(mail, INBOX)).uids) == [1, 2]


async def test_a_mailbox_that_is_gone(store: Store, mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    await put(mail, INBOX, range(2))
    maildrop = await maildrops.open(anna)
    maildrop.delete(1)
    await store.users.remove(anna.user)
    with pytest.raises(NotFound):
        await maildrop.commit()
    with pytest.raises(NotFound):
        await read(maildrop, 2)
    await maildrop.close()
    with pytest.raises(NotFound):
        await maildrops.open(anna)
    assert await store.database["maildrops"].count_documents({}) == 0, "a login that fails holds nothing"


# Limits


async def test_a_day_has_its_octets(store: Store, mail: Mail, maildrops: Maildrops, anna: Principal) -> None:
    await put(mail, INBOX, range(3))
    size = len(message(0))
    await store.users.update(anna.user, {"pop3_max_download": size + 1})
    maildrop = await maildrops.open(anna)
    await read(maildrop, 1)
    await read(maildrop, 2)  # there was one octet left
    for attempt in (read(maildrop, 3), read(maildrop, 1), top(maildrop, 1, 0)):
        with pytest.raises(RateLimited):
            await attempt
    await maildrop.close()
    count = await store.counters.get(f"pop3:download:{anna.user}")
    assert count.value == 2 * size
    assert 86_000 < count.ttl <= 86_400
    maildrop = await maildrops.open(anna)
    with pytest.raises(RateLimited):
        await read(maildrop, 3)
    maildrop.delete(3)
    await maildrop.commit()
    await maildrop.close()
    assert list((await look(mail, INBOX)).uids) == [1, 2]
    await store.counters.clear(f"pop3:download:{anna.user}")
    maildrop = await maildrops.open(anna)
    await read(maildrop, 2)
    await maildrop.close()


async def test_lost_content_is_no_empty_message(
    store: Store, mail: Mail, maildrops: Maildrops, anna: Principal
) -> None:
    await put(mail, INBOX, range(2))
    maildrop = await maildrops.open(anna)
    await store.database["contents"].delete_many({})
    with pytest.raises(Unavailable):
        await read(maildrop, 1)
    await maildrop.close()
