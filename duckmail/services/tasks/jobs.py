"""Which function does which kind of task, and what comes again and again."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta

from duckmail.services.tasks.runner import Handler, Jobs, Run
from storage.removals import KIND
from storage.store import Store

HOUSEKEEPING_EVERY = timedelta(seconds=30)
RETENTION_EVERY = timedelta(hours=1)
SWEEP_EVERY = timedelta(hours=1)


def jobs(store: Store, *others: Mapping[str, Handler]) -> Jobs:
    """`others`: what the services do behind their answers, by kind."""

    async def housekeeping(_: Run) -> Mapping[str, object]:
        await store.housekeeping.once()
        return {}

    async def retention(_: Run) -> Mapping[str, object]:
        return {"messages": await store.retention.run()}

    async def sweep(_: Run) -> Mapping[str, object]:
        return asdict(await store.housekeeping.sweep())

    async def delete_user(run: Run) -> Mapping[str, object]:
        gone = await store.users.removals.end(run.task.id, store.committer)
        await store.events.emit("user.delete.completed", run.task.user, result=gone)
        return gone

    own = {"housekeeping": housekeeping, "retention": retention, "sweep": sweep, KIND: delete_user}
    handlers = {kind: handler for some in (own, *others) for kind, handler in some.items()}
    periodic = {"housekeeping": HOUSEKEEPING_EVERY, "retention": RETENTION_EVERY, "sweep": SWEEP_EVERY}
    return Jobs(handlers, periodic)
