"""Work that goes on behind an answer, or again and again, in whatever process has time for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class TaskState(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"  # for good: trying again cannot help


@dataclass(frozen=True, slots=True)
class Task:
    """
    Args:
        user: whose it is, "" for the server's own.
        data: what it works on, and how far it has come.
        due: when it is looked at next; None when it has ended.
        every: seconds from the end of one run to the next, 0 for a task that ends.
        attempts: how often it was begun since it last came to its end.
        error: why the last attempt failed, "" when it did not.
        runner: the process that works on it, "" for none.
        result: what it did the last time it came to its end.
    """

    id: str
    kind: str
    user: str
    state: TaskState
    created: datetime
    due: datetime | None = None
    every: int = 0
    attempts: int = 0
    error: str = ""
    runner: str = ""
    ended: datetime | None = None
    data: Mapping[str, object] = field(default_factory=dict, repr=False)
    result: Mapping[str, object] = field(default_factory=dict)
