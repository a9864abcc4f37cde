"""Pages of the story of messages: many entries in one, and each found as if it stood alone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.objectid import ObjectId

from duckmail.model.trace import Step, TraceEntry, Wanted
from storage import traceentries, tracepages, traces
from storage.mongo.client import object_id
from storage.store import Store
from storage.traces import Traces

KEPT = timedelta(days=30)
ANNA, BERT = "a" * 24, "b" * 24
LOOK = 1000
SECOND = timedelta(seconds=1)
# An even minute of yesterday.
BEGUN = datetime.now(UTC).replace(hour=10, minute=20, second=0, microsecond=0) - timedelta(days=1)


def step(number: int, at: datetime = BEGUN, user: str = ANNA, **about: object) -> TraceEntry:
    return TraceEntry("a@b", user, Step.DELIVERY, at, {"uid": number, **about})


async def numbers(found: Traces, wanted: Wanted, limit: int = LOOK, user: str = "") -> list[object]:
    entries, _ = await found.find(wanted, limit, user)
    return [entry.about["uid"] for entry in entries]


async def pages(store: Store) -> list[dict[str, Any]]:
    return await store.database["tracepages"].find({}).sort("_id", 1).to_list(None)


async def test_entries_written_together_are_one_page(store: Store) -> None:
    entries = [step(number, sender="far@away.example") for number in range(tracepages.MOST_ENTRIES)]
    await store.traces.add(entries, KEPT)
    (page,) = await pages(store)
    assert len(page["keys"]) == 3, "of the message, the sender and the account, each once"
    found, more = await store.traces.find(Wanted("a@b"), LOOK)
    assert [entry._replace(id="") for entry in found] == entries
    assert len({entry.id for entry in found}) == len(entries)
    assert sorted(entry.id for entry in found) == [entry.id for entry in found]
    assert not more


@pytest.mark.parametrize("limit", [1, 6, 7, 8, 20, 21])
async def test_the_latest_of_several_pages(store: Store, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """All happened at once, so only their places tell what came first."""
    monkeypatch.setattr(tracepages, "MOST_ENTRIES", 7)
    monkeypatch.setattr(traces, "READ", 1)
    await store.traces.add([step(number) for number in range(21)], KEPT)
    assert [len(page["entries"]) for page in await pages(store)] == [7, 7, 7]
    found, more = await store.traces.find(Wanted("a@b"), limit)
    assert [entry.about["uid"] for entry in found] == list(range(21))[-limit:]
    assert more == (limit < 21)


async def test_processes_write_at_the_same_time(store: Store) -> None:
    """Their pages overlap: the latest entries are not those of the latest page alone."""
    for third in range(3):
        await store.traces.add([step(number, BEGUN + number * SECOND) for number in range(third, 30, 3)], KEPT)
    for limit in (1, 2, 10, 29, 30):
        assert await numbers(store.traces, Wanted("a@b"), limit) == list(range(30))[-limit:]


async def test_what_happened_at_the_time_of_a_later_page(store: Store) -> None:
    """The page that is read second has what came last of that time."""
    await store.traces.add([step(0), step(1), step(3, BEGUN + SECOND)], KEPT)
    await store.traces.add([step(2)], KEPT)
    assert await numbers(store.traces, Wanted("a@b"), 2) == [2, 3]


async def test_keys_of_different_entries_do_not_match_together(store: Store) -> None:
    entries = [
        step(1, recipient="anna@x.example", connection="c1"),
        step(2, recipient="bert@x.example", connection="c2", user=BERT),
    ]
    await store.traces.add(entries, KEPT)
    assert len(await pages(store)) == 1
    for wanted, user, found in (
        (Wanted(address="anna@x.example", session="c1"), "", [1]),
        (Wanted(address="anna@x.example", session="c2"), "", []),
        (Wanted(address="bert@x.example"), BERT, [2]),
        (Wanted(address="bert@x.example"), ANNA, []),
        (Wanted("a@b"), ANNA, [1]),
    ):
        assert await numbers(store.traces, wanted, user=user) == found


@pytest.mark.parametrize(
    ("after", "before", "found"),
    [
        pytest.param(None, None, [0, 10, 20, 30, 40, 50], id="all"),
        pytest.param(20, None, [20, 30, 40, 50], id="after is within"),
        pytest.param(None, 20, [0, 10], id="before is not"),
        pytest.param(10, 30, [10, 20], id="between"),
        pytest.param(0, 1, [0], id="the first"),
        pytest.param(51, None, [], id="later"),
        pytest.param(None, 0, [], id="earlier"),
        pytest.param(30, 20, [], id="none"),
        pytest.param(20.0001, None, [20, 30, 40, 50], id="times are kept in milliseconds"),
    ],
)
async def test_times_within_a_page(
    store: Store, after: float | None, before: float | None, found: Sequence[int]
) -> None:
    await store.traces.add([step(each, BEGUN + each * SECOND) for each in range(0, 60, 10)], KEPT)
    assert len(await pages(store)) == 1
    begin, end = (BEGUN + each * SECOND if each is not None else None for each in (after, before))
    assert await numbers(store.traces, Wanted("a@b", after=begin, before=end)) == found


async def test_each_minute_and_each_day_has_its_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a page is of one day, and one question is for some of them."""
    monkeypatch.setattr(tracepages, "DAYS", 2)
    times = [BEGUN - timedelta(days=9), BEGUN - timedelta(days=4), BEGUN - SECOND, BEGUN, BEGUN + 60 * SECOND]
    await store.traces.add([step(number, at) for number, at in enumerate(times)], KEPT)
    found = await pages(store)
    assert [page["at"] for page in found] == times
    assert len({page["keys"][0] >> tracepages.BITS for page in found}) == 3
    for limit in range(1, 6):
        assert await numbers(store.traces, Wanted("a@b"), limit) == list(range(5))[-limit:]
    week = Wanted("a@b", after=BEGUN - timedelta(days=5), before=BEGUN)
    assert await numbers(store.traces, week) == [1, 2]
    ever = Wanted("a@b", after=datetime(1, 1, 1, tzinfo=UTC), before=datetime.max.replace(tzinfo=UTC))
    assert await numbers(store.traces, ever) == [0, 1, 2, 3, 4]


async def test_a_page_has_its_size(store: Store) -> None:
    entries = [step(number, error=f"{number}" * 20_000) for number in range(8)]
    await store.traces.add(entries, KEPT)
    await store.traces.add([step(8, error="x" * 2 * tracepages.LARGEST)], KEPT)
    assert [len(page["entries"]) for page in await pages(store)] == [2, 2, 2, 2, 1]
    assert await numbers(store.traces, Wanted("a@b")) == list(range(9))


async def test_other_keys_with_the_same_number_are_not_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracepages, "_number", lambda key: 7)
    await store.traces.add([step(1, recipient="anna@x.example"), step(2, connection="c", user=BERT)], KEPT)
    assert [page["keys"] for page in await pages(store)] == [[(tracepages.day_of(BEGUN) << tracepages.BITS) + 7]]
    assert await numbers(store.traces, Wanted(session="c")) == [2]
    assert await numbers(store.traces, Wanted("a@b"), user=ANNA) == [1]
    assert await numbers(store.traces, Wanted("other@b")) == []
    await store.traces.forget(BERT)
    assert await numbers(store.traces, Wanted("a@b")) == [1]


async def test_a_search_has_its_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it found until then is told, and that there may be more."""
    monkeypatch.setattr(traces, "MOST_PAGES", 2)
    for number in range(3):
        entries = [step(number, recipient="anna@x.example"), step(number, connection="c")]
        await store.traces.add([each._replace(at=BEGUN + number * SECOND) for each in entries], KEPT)
    found, more = await store.traces.find(Wanted("a@b", address="anna@x.example"), LOOK)
    assert ([entry.about["uid"] for entry in found], more) == ([1, 2], True)
    # Pages that seem to have it, and do not.
    assert await store.traces.find(Wanted(address="anna@x.example", session="c"), LOOK) == ([], True)


async def test_a_page_ends_with_its_latest_entry(store: Store) -> None:
    """Also where a clock was set back."""
    await store.traces.add([step(1, BEGUN + 9 * SECOND), step(2, BEGUN + 5 * SECOND)], KEPT)
    (page,) = await pages(store)
    assert (page["at"], page["expires"]) == (BEGUN + 9 * SECOND, BEGUN + 9 * SECOND + KEPT)
    assert await numbers(store.traces, Wanted("a@b")) == [2, 1]


async def test_an_account_leaves_its_pages(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it alone was found by; entries of others stay, one of the server's own among them."""
    monkeypatch.setattr(traces, "BATCH", 2)
    for at in (BEGUN, BEGUN + 60 * SECOND, BEGUN + timedelta(days=1)):
        mixed = [
            step(1, at, ANNA, recipient="anna@x.example", sender="far@y.example"),
            step(2, at, BERT, recipient="bert@x.example", sender="far@y.example"),
            step(3, at, "", queue="q1"),
        ]
        await store.traces.add(mixed, KEPT)
        await store.traces.add([step(4, at, ANNA)], KEPT)
    ids = [entry.id for entry in (await store.traces.find(Wanted("a@b"), LOOK, BERT))[0]]
    assert await store.traces.forget(ANNA) == 6
    left = await pages(store)
    assert [[row["n"] for row in page["entries"]] for page in left] == [[1, 2]] * 3
    for page in left:
        day = tracepages.day_of(page["at"]) << tracepages.BITS
        assert sorted(page["keys"]) == sorted({day + key for row in page["entries"] for key in row["keys"]})
    assert object_id(ANNA) not in {row.get("user") for page in left for row in page["entries"]}
    assert await numbers(store.traces, Wanted(address="far@y.example")) == [2] * 3
    assert await numbers(store.traces, Wanted(queue="q1")) == [3] * 3
    assert [entry.id for entry in (await store.traces.find(Wanted("a@b"), LOOK, BERT))[0]] == ids
    assert await store.traces.forget(ANNA) == 0


def document(number: int, at: datetime, user: str) -> dict[str, Any]:
    """As an older version wrote it."""
    return {
        "_id": ObjectId(),
        "user": object_id(user) if user else None,
        "msgid": "a@b",
        "keys": ["m:a@b", "c:192.0.2.7"],
        "step": "delivery",
        "at": at,
        "about": {"uid": number},
        "expires": at + KEPT,
    }


@pytest.mark.parametrize("wanted", [Wanted("a@b"), Wanted("a@b", client="192.0.2.7")], ids=["one key", "two"])
async def test_what_an_older_version_wrote_is_found_too(store: Store, wanted: Wanted) -> None:
    """Among what is in pages, in the order in which it happened."""
    older = [document(number, BEGUN + number * SECOND, user) for number, user in ((0, ANNA), (2, BERT), (4, ""))]
    await store.database["traces"].insert_many(older)
    assert await numbers(store.traces, wanted) == [0, 2, 4]
    newer = [step(number, BEGUN + number * SECOND, client="192.0.2.7") for number in (1, 3, 5)]
    await store.traces.add(newer, KEPT)
    for limit in range(1, 7):
        found, more = await store.traces.find(wanted, limit)
        assert [entry.about["uid"] for entry in found] == list(range(6))[-limit:]
        assert more == (limit < 6)
    assert await numbers(store.traces, wanted, user=ANNA) == [0, 1, 3, 5]


@pytest.mark.parametrize("user", ["", ANNA], ids=["all", "own"])
@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(Wanted("a@b"), id="message"),
        pytest.param(Wanted(address="a@b.example", after=datetime(2020, 1, 1, tzinfo=UTC)), id="address"),
        pytest.param(Wanted(client="192.0.2.7"), id="client"),
        pytest.param(Wanted("a@b", client="192.0.2.7"), id="two"),
    ],
)
async def test_queries_use_their_indexes(store: Store, wanted: Wanted, user: str) -> None:
    """Also those for as many days as are asked for at once."""
    await store.database["traces"].insert_one(document(1, BEGUN, ANNA))
    await store.traces.add([step(1, client="192.0.2.7")], KEPT)
    days = tracepages.days_of(0, wanted)[0]
    assert len(days) == tracepages.DAYS
    for name, query, latest in (
        ("tracepages", tracepages.query_of(wanted, user, days), traces.LATEST),
        ("traces", traceentries.query_of(wanted, user), traceentries.LATEST),
    ):
        plan = str((await store.database[name].find(query).sort(latest).explain())["queryPlanner"]["winningPlan"])
        assert "IXSCAN" in plan
        assert "COLLSCAN" not in plan
        assert "'SORT'" not in plan
    plan = str((await store.database["tracepages"].find(tracepages.of_account(ANNA, days)).explain())["queryPlanner"])
    assert "IXSCAN" in plan
    assert "COLLSCAN" not in plan
