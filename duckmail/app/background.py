"""What does the tasks of a server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from duckmail.app.services import Services
from duckmail.services.tasks.runner import TaskRunner
from duckmail.services.webhooks.runner import WebhookRunner


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


@asynccontextmanager
async def telling(services: Services, seconds: float) -> AsyncIterator[WebhookRunner]:
    """Posts to webhooks; at the end it has `seconds` for what it is posting."""
    runner = WebhookRunner(services.store.webhooks, services.outside.http, services.target_passwords)
    services.store.webhooks.outbox.woken = runner.wake
    runner.start()
    try:
        yield runner
    finally:
        await runner.drain(seconds)
