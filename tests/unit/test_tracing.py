"""The story of messages: nothing waits for it, it has its bounds, and it ends."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from duckmail.errors import NotPermitted, Unavailable
from duckmail.model.account import Principal
from duckmail.model.trace import LONGEST_ID, MOST_KEYS, Step, TraceEntry, Wanted, keys_of, normal_id, story_id
from duckmail.runtime import metrics
from duckmail.services import tracing
from duckmail.services.access import SYSTEM
from duckmail.services.tracing import LONGEST, LONGEST_LIST, Tracing
from storage.store import Store
from tests.support.stores import open_store

KEEP = 30 * 86400.0
ANNA, BERT = "a" * 24, "b" * 24
LOOK = 100
NAMED = Wanted("a@b")
LONG_AGO, LATER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


class Away:
    """A database that does not answer."""

    async def add(self, entries: Sequence[TraceEntry], kept: timedelta) -> None:
        raise Unavailable

    async def find(self, wanted: Wanted, limit: int, user: str = "") -> tuple[list[TraceEntry], bool]:
        raise Unavailable


def dropped() -> float:
    return float(metrics.TRACES["dropped"]._value.get())


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param("<a@b>", "a@b", id="brackets"),
        pytest.param("  <a@b>\t", "a@b", id="white space"),
        pytest.param("a@b", "a@b", id="bare"),
        pytest.param("<" + "x" * 2000 + ">", "x" * LONGEST_ID, id="long"),
        pytest.param("<\udcff@b>", "?@b", id="no character"),
        pytest.param("<>", "", id="empty"),
    ],
)
def test_names(given: str, kept: str) -> None:
    assert normal_id(given) == kept


async def test_who_sees_what(store: Store) -> None:
    told = Tracing(store.traces, store.mailboxes, KEEP)
    told.note(Step.DELIVERY, "<a@b>", ANNA, {"recipient": "anna", "error": "", "spam": None})
    told.note(Step.DELIVERY, "<a@b>", BERT, {"recipient": "bert"})
    told.note(Step.ATTEMPT, "a@b", "", {"queue": "1"})
    told.note(Step.ATTEMPT, "", ANNA, {"queue": "2"})
    await told.flush()
    assert [entry.user for entry in (await told.find(NAMED, LOOK, SYSTEM)).entries] == [ANNA, BERT, ""]
    (mine,) = (await told.find(Wanted("<a@b>"), LOOK, Principal(ANNA, "anna", "user"))).entries
    assert mine.about == {"recipient": "anna"}, "what is empty is left out"
    last = await told.find(NAMED, 2, SYSTEM)
    assert ([entry.user for entry in last.entries], last.more) == ([BERT, ""], True)
    assert (await told.find(Wanted("<>"), LOOK, SYSTEM)).entries == []
    assert (await told.find(Wanted(queue="2"), LOOK, Principal(BERT, "bert", "user"))).entries == []
    with pytest.raises(NotPermitted):
        await told.find(NAMED, LOOK, Principal("", "", "user"))


async def test_it_ends(store: Store) -> None:
    """By an index of the database, `keep` after it happened."""
    told = Tracing(store.traces, store.mailboxes, KEEP)
    told.note(Step.DELIVERY, "a@b", ANNA, {})
    await told.flush()
    [document] = await store.database["tracepages"].find({}).to_list(None)
    assert document["expires"] - document["at"] == timedelta(days=30)
    indexes = await store.database["tracepages"].index_information()
    assert [each["key"] for each in indexes.values() if each.get("expireAfterSeconds") == 0] == [[("expires", 1)]]
    assert datetime.now(UTC) - document["at"] < timedelta(hours=1)


async def test_nothing_is_kept_for_no_time(store: Store) -> None:
    told = Tracing(store.traces, store.mailboxes, 0)
    told.note(Step.DELIVERY, "a@b", ANNA, {})
    await told.flush()
    assert await store.database["tracepages"].count_documents({}) == 0


async def test_texts_and_lists_are_cut(store: Store) -> None:
    told = Tracing(store.traces, store.mailboxes, KEEP)
    about = {"reply": "é" * 5000, "recipients": [{"reply": "\udcff" * 5000}] * 5000}
    told.note(Step.ATTEMPT, "a@b", ANNA, about)
    await told.flush()
    (entry,) = (await told.find(NAMED, LOOK, SYSTEM)).entries
    assert len(entry.keys) <= MOST_KEYS
    recipients = entry.about["recipients"]
    assert entry.about["reply"] == "é" * LONGEST
    assert isinstance(recipients, list)
    assert (len(recipients), recipients[0]) == (LONGEST_LIST, {"reply": "?" * LONGEST})


async def test_the_buffer_has_an_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "MOST", 7)
    monkeypatch.setattr(tracing, "BATCH", 3)
    told = Tracing(store.traces, store.mailboxes, KEEP)
    before = dropped()
    for number in range(9):
        told.note(Step.DELIVERY, "a@b", ANNA, {"uid": number})
    assert dropped() - before == 2
    await told.flush()
    found = (await told.find(NAMED, LOOK, SYSTEM)).entries
    assert [entry.about["uid"] for entry in found] == list(range(7))


async def test_a_database_that_is_away_costs_the_entries_and_nothing_else(store: Store) -> None:
    told = Tracing(Away(), store.mailboxes, KEEP)
    before = dropped()
    told.note(Step.DELIVERY, "a@b", ANNA, {})
    await told.flush()
    assert dropped() - before == 1
    await told.close()


ABOUT: dict[str, object] = {
    "from": "192.0.2.7",
    "connection": "c1",
    "sender": "Some.One+label@Far.example",
    "recipient": "anna@example.com",
    "message": "m" * 24,
}


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        pytest.param(Wanted("x" * 64 + "@content.duckmail.invalid"), True, id="its name"),
        pytest.param(Wanted("<" + "m" * 24 + "@duckmail.invalid>"), True, id="the name that the API shows"),
        pytest.param(Wanted(address="someone@far.example"), True, id="the sender"),
        pytest.param(Wanted(address="ANNA@example.com"), True, id="the recipient"),
        pytest.param(Wanted(address="anna@example.com", session="c1"), True, id="both"),
        pytest.param(Wanted(address="anna@example.com", session="c2"), False, id="one of two"),
        pytest.param(Wanted(client="192.0.2.7"), True, id="the client"),
        pytest.param(Wanted(client="192.0.2.8"), False, id="another client"),
        pytest.param(Wanted(session="c1", after=LONG_AGO, before=LATER), True, id="within a time"),
        pytest.param(Wanted(session="c1", after=LATER), False, id="later"),
        pytest.param(Wanted(session="c1", before=LONG_AGO), False, id="before"),
    ],
)
async def test_what_has_no_message_id_is_found(shared: Tracing, wanted: Wanted, found: bool) -> None:
    assert len((await shared.find(wanted, LOOK, SYSTEM)).entries) == found


@pytest.fixture(scope="module")
async def shared(mongo_uri: str) -> AsyncIterator[Tracing]:
    """With one step that has no Message-ID."""
    async with open_store(mongo_uri, "t_tracing_shared") as opened:
        await opened.database["tracepages"].delete_many({})
        told = Tracing(opened.traces, opened.mailboxes, KEEP)
        told.note(Step.DELIVERY, story_id("", "x" * 64), ANNA, ABOUT)
        await told.flush()
        yield told


@pytest.mark.parametrize(
    ("about", "keys"),
    [
        pytest.param({"sender": "<>", "recipient": ""}, [], id="nobody"),
        pytest.param({"recipients": [{"address": "a@b.c"}, "d@e.f"]}, ["a:a@b.c", "a:d@e.f"], id="several"),
        pytest.param({"from": "127.0.0.1", "client": "2001:DB8::1"}, ["c:2001:db8::1"], id="behind a relay"),
        pytest.param({"queue": "q1"}, ["q:q1"], id="queued"),
    ],
)
def test_keys(about: dict[str, object], keys: list[str]) -> None:
    assert list(keys_of("", about)) == keys


def test_keys_have_an_end() -> None:
    assert len(keys_of("a@b", {"recipients": [f"{number}@x.example" for number in range(5000)]})) == MOST_KEYS
