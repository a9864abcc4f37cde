"""A process is killed in the middle of a task: another one goes on, and the effect is there once."""

import asyncio
import sys

from duckmail.model.task import TaskState
from duckmail.services.tasks.runner import TaskRunner
from storage.store import Store
from storage.tasks import new_document
from tests.support.task_process import counting

STEPS = 40


async def told(process: asyncio.subprocess.Process, step: int) -> None:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        while (line := await process.stdout.readline()) != f"{step}\n".encode():
            assert line, "the process has ended"


async def test_another_process_brings_it_to_its_end(store: Store, mongo_uri: str, database_name: str) -> None:
    identifier = await store.task_records.add(new_document("count", {"to": STEPS}))
    command = (sys.executable, "-m", "tests.support.task_process", mongo_uri, database_name, "victim")
    victim = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    await told(victim, 9)
    other = TaskRunner(store.task_records, counting(store, 0), "other")
    assert await other.once() == 0, "it is leased"
    victim.kill()
    await victim.wait()
    # The dead one's lease ends by itself; here sooner.
    await store.database["tasks"].update_one({}, [{"$set": {"lease.until": "$$NOW", "due": "$$NOW"}}])
    assert await other.once() == 1
    task = await store.task_records.get(identifier)
    assert (task.state, task.result, task.attempts) == (TaskState.DONE, {"counted": STEPS}, 2)
    assert await store.database["steps"].count_documents({}) == STEPS


async def test_the_same_process_started_again_goes_on_at_once(store: Store, mongo_uri: str, database_name: str) -> None:
    identifier = await store.task_records.add(new_document("count", {"to": STEPS}))
    command = (sys.executable, "-m", "tests.support.task_process", mongo_uri, database_name, "victim")
    for step in (5, 10):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        await told(process, step)
        process.kill()
        await process.wait()
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        while (await store.task_records.get(identifier)).state is not TaskState.DONE:
            await asyncio.sleep(0.05)
    process.kill()
    await process.wait()
    assert await store.database["steps"].count_documents({}) == STEPS
