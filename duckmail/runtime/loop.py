"""The event loop of the process: uvloop where it is installed, plain asyncio otherwise."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop; None stands for asyncio's own. `DUCKMAIL_LOOP=asyncio` in the environment forces that."""
    if os.environ.get("DUCKMAIL_LOOP", "") == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415 (an optional extra)
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` to its end on a fresh loop and give its result."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(main)
