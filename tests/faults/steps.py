"""What the campaigns do alike: actors at work, a wait while work is done, a record of a broken promise."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from tests.faults.command import Result
from tests.faults.ledger import Violation
from tests.faults.rig import Serve


async def work(done: Callable[[], int], chance: random.Random, most: int, seconds: float) -> None:
    """Until a random number of operations, at most `most`, is done, so that no kill meets idle clients; no longer than
    `seconds`. `done`: how many are."""
    enough = done() + chance.randint(3, most)
    begun = time.monotonic()
    while done() < enough and time.monotonic() - begun < seconds:
        await asyncio.sleep(chance.uniform(0.001, 0.02))


class Runner(Protocol):
    """An actor, or who looks on: runs until it is cancelled."""

    async def run(self) -> None: ...


@asynccontextmanager
async def at_work(runners: Iterable[Runner]) -> AsyncIterator[asyncio.TaskGroup]:
    """They run until the end of the block; theirs is the group. Raises: Violation: the first assertion that failed."""
    try:
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(each.run()) for each in runners]
            yield tasks
            for each in running:
                each.cancel()
    except* AssertionError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise Violation(str(error)) from error


@contextmanager
def recorded(result: Result, seed: int, serves: Sequence[Serve], logs: Path | None, name: str) -> Iterator[None]:
    """A broken promise becomes the result's, and the servers' logs go to the folder `logs`, as `name` and the seed."""
    try:
        yield
    except AssertionError as error:
        result.violation = f"seed {seed}: {error}"
        for serve in serves if logs is not None else ():
            (logs / f"{name}-{seed}-{serve.folder.name}.log").write_text(serve.tail(1 << 20))
