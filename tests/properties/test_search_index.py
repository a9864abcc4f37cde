"""The index of texts never changes an answer: the same searches with it, without it, and half of it."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

from duckmail.mime.collation import casemap
from duckmail.mime.grams import BODY, HEADER, asked, places
from duckmail.model import search
from duckmail.model.message import NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from duckmail.services.search import Search
from storage import textindex
from storage.store import Store
from storage.textsegments import Wanted
from storage.views import View
from tests.support.stores import Ears, new_account, open_store

WORDS = (
    *("alpha", "Beta", "GAMMA", "delta", "Straße", "Käse", "ﬁn", "Ελλάδα", "письмо", "日本語"),
    *("re:", "<b@x.org>", "a_b", "100%", "aaaa", "ab", "abab"),
)
MESSAGES = 260
BEGIN, STEP = datetime(2025, 12, 1, 23, 50, tzinfo=UTC), timedelta(hours=5, minutes=1)


def _message(chance: random.Random, number: int) -> bytes:
    def words(most: int) -> str:
        return " ".join(chance.choice(WORDS) for _ in range(chance.randint(0, most)))

    date = "" if number % 5 == 0 else f"Date: {number % 28 + 1} Jan 2026 01:{number % 60:02}:00 +0900\r\n"
    header = f"{date}Message-ID: <{number % 50}.{words(1)}@x.org>{' (alpha)' if number % 7 == 0 else ''}\r\n"
    header += "" if number % 9 else f"X-Own: b\x0bMessage-ID: {words(2)}\r\n"
    header += f"From: {words(1)} <u{number}@example.com>\r\nTo: Team: t{number % 7}@x.org;\r\nSubject: {words(4)}\r\n"
    kind = chance.randrange(4)
    if kind == 0:
        header += "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
        return f"{header}\r\n{words(3)} K=C3=A4=\r\nse {number}\r\n".encode()
    if kind == 1:
        header += "Content-Type: multipart/report; boundary=x\r\n"
        body = f"--x\r\nContent-Type: message/delivery-status\r\n\r\nStatus: 5.1.{number}\r\n{words(5)}\r\n--x--\r\n"
        return f"{header}\r\n{body}".encode()
    return f"{header}X-Own: {words(2)}\r\n\r\n{words(60)}\r\n".encode()


def _needle(chance: random.Random) -> str:
    text = " ".join(chance.choice(WORDS) for _ in range(3))
    start = chance.randrange(len(text))
    return chance.choice((str.upper, str.lower, str))(text[start : start + chance.randint(1, 9)])


def _tree(chance: random.Random, depth: int = 2) -> search.Node:
    kind = chance.randrange(13 if depth else 10)
    match kind:
        case 0:
            return search.Text(_needle(chance))
        case 1:
            return search.Body(chance.choice((_needle(chance), f"5.1.{chance.randrange(MESSAGES)}")))
        case 2:
            name = chance.choice(("subject", "from", "x-own", "to", "cc", "message-id"))
            return search.Header(name, chance.choice(("", "<", _needle(chance), _needle(chance))))
        case 3:
            first = chance.randrange(1, MESSAGES)
            return search.Uids(Ranges(((first, first + chance.randrange(200)),)))
        case 4 | 5 | 6 | 7 | 8 | 9:
            return _listed_key(chance, kind)
        case 10:
            return search.Not(_tree(chance, depth - 1))
        case 11:
            return search.Or((_tree(chance, depth - 1), _tree(chance, depth - 1)))
        case _:
            return search.And((_tree(chance, depth - 1), _tree(chance, depth - 1)))


def _listed_key(chance: random.Random, kind: int) -> search.Node:
    """Of what the columns answer; and flags."""
    first = BEGIN + STEP * chance.randrange(MESSAGES)
    last = first + STEP * chance.randrange(MESSAGES)
    match kind:
        case 4:
            return search.DateRange(chance.choice(list(search.DateField)), first.date(), last.date())
        case 5:
            return search.Size(chance.randrange(100, 300), chance.choice((None, 400)))
        case 6:
            age = int((datetime.now(UTC) - first).total_seconds())
            return chance.choice((search.Within(younger=age), search.Within(older=age)))
        case 7:
            return chance.choice(
                (search.Between(first, last), search.Between(since=first), search.Between(before=last))
            )
        case 8:
            return chance.choice(
                (search.ModSeq(2), search.Recent(), search.All(), search.DateRange(search.DateField.SENT))
            )
        case _:
            return search.Flag(chance.choice(("\\Seen", "\\Flagged", "$Junk", "$none")))


def wanted(needle: str) -> Wanted:
    key = casemap(needle)
    return Wanted(key, asked(key, HEADER + BODY), HEADER + BODY)


async def _append(mail: Mail, chance: random.Random, count: int) -> None:
    new = [
        NewMessage(
            await mail.prepare(_message(chance, number)),
            chance.choice(((), (), ("\\Seen",), ("\\Seen", "$Junk"))),
            BEGIN + STEP * number,
        )
        for number in range(count)
    ]
    await mail.append("INBOX", new)


async def _same(store: Store, view: View, chance: random.Random, searches: int) -> int:
    """How many messages were found in all."""
    found = 0
    for _ in range(searches):
        tree = _tree(chance)
        plain = await Search(store.messages, view, 0).run(tree)
        for index, columns in ((store.text_index, None), (store.text_index, store.columns), (None, store.columns)):
            assert await Search(store.messages, view, 0, index, columns).run(tree) == plain, tree
        among = [uid for uid in view.uids if chance.random() < 0.3]
        some = await Search(store.messages, view, 0, store.text_index, store.columns).run(tree, among)
        assert some == sorted({*plain} & {*among}), tree
        found += len(plain)
    return found


async def test_with_the_index_and_without(mongo_uri: str, database_name: str) -> None:
    chance = random.Random(7)
    async with open_store(mongo_uri, database_name) as store:
        mail = Mail(store, await new_account(store))
        await _append(mail, chance, MESSAGES)
        view = await mail.open("INBOX", ears := Ears())
        uids = view.uids[:]
        await store.text_index.build(view.mailbox.user, view.mailbox.id, uids[:150])
        assert await _same(store, view, chance, 40)
        await store.text_index.build(view.mailbox.user, view.mailbox.id, uids)
        last, _, _ = await store.text_index.ask(view.mailbox.id, [])
        assert last == uids[-1]
        assert await _same(store, view, chance, 40)
        # What comes later is looked through, what is gone is not found.
        await _append(mail, chance, 20)
        await mail.move(view, Ranges(((10, 60),)), "INBOX")
        await mail.sync(view)
        assert await _same(store, view, chance, 40)
        mail.close_view(view, ears)


async def test_what_the_index_says_of_rare_and_common_words(mongo_uri: str, database_name: str) -> None:
    async with open_store(mongo_uri, database_name) as store:
        mail = Mail(store, await new_account(store))
        raw = [b"Subject: x\r\nX-Own: a b\r\n\r\ncommon\r\n"] * 30 + [b"Subject: x\r\n\r\nrare needle\r\n"]
        await mail.append("INBOX", [NewMessage(await mail.prepare(each)) for each in raw])
        view = await mail.open("INBOX", ears := Ears())
        mailbox = view.mailbox
        await store.text_index.build(mailbox.user, mailbox.id, view.uids[:])
        strings = [wanted("needle"), wanted("ommo"), wanted("zq"), Wanted("B", asked("X-OWN", HEADER), name="X-OWN")]
        last, (uids,), found = await store.text_index.ask(mailbox.id, strings)
        assert (last, list(uids)) == (31, list(range(1, 32)))
        thirty = (1 << 30) - 1
        assert found == [[(0, 1 << 30)], [(thirty, thirty)], [(0, 0)], [(thirty, thirty)]]
        mail.close_view(view, ears)


async def test_an_index_of_another_format_is_built_anew(mongo_uri: str, database_name: str) -> None:
    async with open_store(mongo_uri, database_name) as store:
        mail = Mail(store, await new_account(store))
        await mail.append("INBOX", [NewMessage(await mail.prepare(b"Subject: x\r\n\r\nneedle\r\n"))] * 3)
        view = await mail.open("INBOX", ears := Ears())
        arguments = view.mailbox.user, view.mailbox.id, view.uids[:]
        await store.text_index.build(*arguments)
        mail.close_view(view, ears)
        await store.database["textindex"].update_many({}, {"$set": {"version": 7}, "$unset": {"format": 1}})
        assert (await store.text_index.ask(view.mailbox.id, []))[0] == 0
        await store.text_index.build(*arguments)
        last, _, (((_, found),),) = await store.text_index.ask(view.mailbox.id, [wanted("needle")])
        assert (last, found) == (3, 7)


async def test_a_search_has_the_index_built(mongo_uri: str, database_name: str) -> None:
    async with open_store(mongo_uri, database_name) as store:
        mail = Mail(store, await new_account(store))
        content = await mail.prepare(b"Subject: x\r\n\r\nneedle\r\n")
        await mail.append("INBOX", [NewMessage(content)] * textindex.LEAST)
        view = await mail.open("INBOX", ears := Ears())
        async with asyncio.timeout(20):
            while (await store.text_index.ask(view.mailbox.id, []))[0] < textindex.LEAST:
                assert len(await mail.search(view, search.Text("needle"))) == textindex.LEAST
                await asyncio.sleep(0.05)
        mail.close_view(view, ears)


async def test_two_builders_at_once(mongo_uri: str, database_name: str) -> None:
    """The slower one gives up; what it wrote is not used."""
    async with open_store(mongo_uri, database_name) as store, open_store(mongo_uri, database_name, slot="2") as other:
        mail = Mail(store, await new_account(store))
        await mail.append("INBOX", [NewMessage(await mail.prepare(b"Subject: x\r\n\r\nneedle\r\n"))] * 20)
        view = await mail.open("INBOX", ears := Ears())
        arguments = view.mailbox.user, view.mailbox.id, view.uids[:]
        await asyncio.gather(store.text_index.build(*arguments), other.text_index.build(*arguments))
        for each in (store, other):
            last, _, (((_, found),),) = await each.text_index.ask(view.mailbox.id, [wanted("needle")])
            assert (last, found.bit_count()) == (20, 20)
        mail.close_view(view, ears)


async def test_the_index_goes_with_its_mailbox(mongo_uri: str, database_name: str) -> None:
    async with open_store(mongo_uri, database_name) as store:
        mail = Mail(store, await new_account(store))
        box = await mail.create("Other")
        await mail.append("Other", [NewMessage(await mail.prepare(b"Subject: x\r\n\r\n"))])
        await store.text_index.build(box.user, box.id, [1])
        await textindex.sweep(store.database)
        assert await store.database["textgroups"].count_documents({}) > 0
        await mail.delete("Other")
        await textindex.sweep(store.database)
        assert await store.database["textgroups"].count_documents({}) == 0
        assert await store.database["textindex"].count_documents({}) == 0


def test_a_text_that_holds_a_string_holds_its_runs() -> None:
    chance = random.Random(3)
    for _ in range(100):
        text = "".join(chance.choice("abcäя日 \n") for _ in range(200))
        start = chance.randrange(200)
        for mark, found in ((HEADER, places([text, "x"], "")), (BODY, places([], text))):
            assert found is not None
            for length in (1, 2, 3, 4, 12):
                (mine,) = asked(text[start : start + length], mark)
                assert set(mine) <= found
