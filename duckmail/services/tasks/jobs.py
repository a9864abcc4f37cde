"""Which function does which kind of task, and what comes again and again."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta

from duckmail.services.tasks.runner import Jobs, Run
from storage.store import Store

HOUSEKEEPING_EVERY = timedelta(seconds=30)
SWEEP_EVERY = timedelta(hours=1)


def jobs(store: Store) -> Jobs:
    async def housekeeping(_: Run) -> Mapping[str, object]:
        await store.housekeeping.once()
        return {}

    async def sweep(_: Run) -> Mapping[str, object]:
        return asdict(await store.housekeeping.sweep())

    return Jobs(
        handlers={"housekeeping": housekeeping, "sweep": sweep},
        periodic={"housekeeping": HOUSEKEEPING_EVERY, "sweep": SWEEP_EVERY},
    )
