"""A process that does tasks, to be killed: `python -m tests.support.task_process URI DATABASE SLOT`.

Its one kind, `count`, adds up to `data.to` in steps of its own, each as a document whose id is the step: what a
second process does again is there already. Every step is told on standard output.
"""

import asyncio
import contextlib
import sys
from collections.abc import Mapping

from pymongo.errors import DuplicateKeyError

from duckmail.services.tasks.runner import Jobs, Run, TaskRunner
from storage.store import Store
from tests.support.stores import open_store

STEP_SECONDS = 0.05


def counting(store: Store, seconds: float = STEP_SECONDS) -> Jobs:
    steps = store.database["steps"]

    async def count(run: Run) -> Mapping[str, object]:
        data = run.task.data
        for step in range(int(str(data.get("done", 0))), int(str(data["to"]))):
            with contextlib.suppress(DuplicateKeyError):
                await steps.insert_one({"_id": f"{run.task.id}:{step}"})
            await run.save(done=step + 1)
            print(step, flush=True)
            await asyncio.sleep(seconds)
        return {"counted": data["to"]}

    return Jobs({"count": count}, {})


async def main(uri: str, database: str, slot: str) -> None:
    async with open_store(uri, database, slot=slot) as store:
        runner = TaskRunner(store.task_records, counting(store), slot)
        runner.start()
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
