"""What does the tasks of a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from duckmail.app.services import Services
from duckmail.services.tasks.runner import TaskRunner


@asynccontextmanager
async def working(services: Services, seconds: float) -> AsyncIterator[TaskRunner]:
    """A runner, which at the end has `seconds` for what it is doing."""
    runner = TaskRunner(services.store.task_records, services.jobs, services.slot)
    services.task_list.woken = runner.wake
    runner.start()
    try:
        yield runner
    finally:
        await runner.drain(seconds)
