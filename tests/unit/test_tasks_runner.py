"""Tasks: one process at a time, tried again when that can help, seen by who may."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from duckmail.errors import InvalidInput, NotFound, NotPermitted, Unavailable
from duckmail.model.account import Principal
from duckmail.model.task import Task, TaskState
from duckmail.services.access import SYSTEM
from duckmail.services.tasks.runner import LONGEST_WAIT, Handler, Jobs, Run, TaskRunner, wait
from duckmail.services.tasks.tasks import TaskList
from storage.store import Store
from storage.tasks import TaskLost, new_document


def runner(store: Store, handler: Handler, name: str = "test", every: timedelta | None = None) -> TaskRunner:
    periodic = {"work": every} if every else {}
    return TaskRunner(store.task_records, Jobs({"work": handler}, periodic), name, poll=0.05)


async def nothing(_: Run) -> Mapping[str, object]:
    return {}


async def reached(store: Store, identifier: str, state: TaskState) -> Task:
    async with asyncio.timeout(40):
        while (task := await store.task_records.get(identifier)).state is not state:
            await asyncio.sleep(0.02)
    return task


async def make(store: Store, **data: object) -> str:
    return await store.task_records.add(new_document("work", data))


async def test_a_task_is_done_once(store: Store) -> None:
    ran: list[object] = []

    async def work(run: Run) -> Mapping[str, object]:
        ran.append(run.task.data["number"])
        return {"number": run.task.data["number"]}

    made = [await make(store, number=number) for number in range(12)]
    some = [runner(store, work, f"runner{number}") for number in range(3)]
    for each in some:
        each.start()
    for number, identifier in enumerate(made):
        assert (await reached(store, identifier, TaskState.DONE)).result == {"number": number}
    for each in some:
        await each.drain(1)
    assert sorted(ran, key=str) == sorted(range(12), key=str)


@pytest.mark.parametrize(
    ("error", "state", "said"),
    [
        pytest.param(Unavailable("the database is away"), TaskState.WAITING, "the database is away", id="may-go-away"),
        pytest.param(KeyError("secret"), TaskState.WAITING, "KeyError", id="a-defect-of-ours"),
        pytest.param(InvalidInput("no such thing"), TaskState.FAILED, "no such thing", id="for-good"),
    ],
)
async def test_what_fails_is_tried_again_if_that_can_help(
    store: Store, error: Exception, state: TaskState, said: str
) -> None:
    async def work(_: Run) -> Mapping[str, object]:
        raise error

    identifier = await make(store)
    assert await runner(store, work).once() == 1
    task = await store.task_records.get(identifier)
    assert (task.state, task.error, task.attempts) == (state, said, 1)
    if state is TaskState.WAITING:
        assert task.due is not None
        assert task.due > datetime.now(UTC)
        assert await runner(store, nothing).once() == 0, "it backs off"
        await store.task_records.hurry(identifier)
        assert await runner(store, nothing).once() == 1
        assert (await store.task_records.get(identifier)).error == ""


def test_waits_grow_to_an_hour() -> None:
    def seconds(attempts: int) -> float:
        task = Task("1", "work", "", TaskState.WAITING, datetime.now(UTC), attempts=attempts)
        return wait(task).total_seconds()

    assert 4 <= seconds(1) <= 6
    assert 16 <= seconds(3) <= 24
    assert seconds(1_000) <= LONGEST_WAIT * 1.2


async def test_what_comes_again_comes_again(store: Store) -> None:
    ran = asyncio.Queue[int]()

    async def work(run: Run) -> Mapping[str, object]:
        ran.put_nowait(run.task.attempts)
        return {}

    some = [runner(store, work, name, timedelta(seconds=1)) for name in ("one", "two")]
    for each in some:
        each.start()
    async with asyncio.timeout(60):
        assert [await ran.get() for _ in range(3)] == [1, 1, 1]
    for each in some:
        await each.drain(1)
    assert await store.database["tasks"].count_documents({}) == 1, "one for all processes"


async def test_who_has_lost_the_lease_writes_nothing(store: Store) -> None:
    await make(store)
    (first,) = await store.task_records.claim("one", 4, ["work"])
    assert await store.task_records.claim("two", 4, ["work"]) == []
    await store.database["tasks"].update_one({}, [{"$set": {"lease.until": "$$NOW", "due": "$$NOW"}}])
    (second,) = await store.task_records.claim("two", 4, ["work"])
    for write in (
        store.task_records.save(first, {"x": 1}),
        store.task_records.finish(first, {}),
        store.task_records.fail(first, "x"),
        store.task_records.put_off(first, "x", datetime.now(UTC)),
    ):
        with pytest.raises(TaskLost):
            await write
    assert await store.task_records.renew([first]) == set()
    assert await store.task_records.renew([second]) == {second.task.id}
    await store.task_records.finish(second, {"by": "two"})
    assert (await store.task_records.get(second.task.id)).result == {"by": "two"}


async def test_what_runs_at_the_end_of_a_process_is_given_back(store: Store) -> None:
    began = asyncio.Event()

    async def work(_: Run) -> Mapping[str, object]:
        began.set()
        await asyncio.sleep(3600)
        return {}

    identifier = await make(store)
    one = runner(store, work)
    one.start()
    async with asyncio.timeout(40):
        await began.wait()
    assert (await store.task_records.get(identifier)).state is TaskState.RUNNING
    await one.drain(0.1)
    task = await store.task_records.get(identifier)
    assert (task.state, task.attempts) == (TaskState.WAITING, 0)
    assert await runner(store, nothing, "two").once() == 1


async def test_an_open_task_with_the_same_key_is_the_same(store: Store) -> None:
    tasks = TaskList(store.task_records)
    first = await tasks.schedule("work", {}, key="all")
    assert await tasks.schedule("work", {}, key="all") == first
    await runner(store, nothing).once()
    assert await tasks.schedule("work", {}, key="all") != first


async def test_who_may_see_them(store: Store) -> None:
    tasks = TaskList(store.task_records)
    made = [await tasks.schedule("work", {}) for _ in range(3)]
    await runner(store, nothing).once()
    waits = await tasks.schedule("work", {}, due=datetime.now(UTC) + timedelta(hours=1))
    assert [task.id for task in await tasks.page(10, SYSTEM)] == [waits, *reversed(made)]
    assert [task.id for task in await tasks.page(10, SYSTEM, ended=False)] == [waits]
    assert [task.id for task in await tasks.page(10, SYSTEM, made[1])] == [made[0]]
    anna = Principal("0123456789abcdef01234567", "anna")
    for call in (tasks.page(1, anna), tasks.get(waits, anna), tasks.hurry(waits, anna)):
        with pytest.raises(NotPermitted):
            await call
    with pytest.raises(NotFound):
        await tasks.hurry(made[0], SYSTEM)


async def test_looking_for_work_reads_no_more_than_there_is(store: Store) -> None:
    for _ in range(20):
        await make(store)
    await runner(store, nothing).once()
    await make(store)
    query = {"due": {"$lte": datetime.now(UTC)}, "kind": {"$in": ["work"]}}
    told = await store.database.command(
        "explain", {"find": "tasks", "filter": query, "sort": {"due": 1}}, verbosity="executionStats"
    )
    assert told["executionStats"]["totalDocsExamined"] == 1
    assert "SORT" not in str(told["queryPlanner"]["winningPlan"]).replace("SORT_KEY", "")
