"""Work behind the answers: what waits, what runs, and what became of it. Works beside a running server."""

import argparse
import json
import os
from datetime import UTC, datetime
from typing import Any

from duckmail.app.services import open_services
from duckmail.cli.common import config_arguments, configuration
from duckmail.cli.databases import databases
from duckmail.model.task import Task
from duckmail.runtime import loop
from duckmail.services.access import SYSTEM
from duckmail.services.tasks.tasks import TaskList

PAGE = 250


def arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    listed = actions.add_parser("list", help="print all tasks that wait or run, newest first")
    listed.add_argument("--all", action="store_true", help="also those of the last seven days that have ended")
    listed.add_argument("--json", action="store_true", help="one JSON object per task")
    hurry = actions.add_parser("run", help="let a task that waits begin now")
    hurry.add_argument("id", help="as `list` prints it")
    for action in (listed, hurry):
        config_arguments(action)


def run(args: argparse.Namespace) -> int:
    config = configuration(args)
    actions = {"list": _list, "run": _run}

    async def main() -> None:
        async with (
            databases(config, attach=True) as found,
            open_services(config, found, f"cli:{os.getpid()}") as services,
        ):
            await actions[args.action](services.task_list, args)

    loop.run(main())
    return 0


async def _list(tasks: TaskList, args: argparse.Namespace) -> None:
    before, count = "", 0
    while page := await tasks.page(PAGE, SYSTEM, before, ended=args.all):
        for task in page:
            print(json.dumps(described(task)) if args.json else line(task, datetime.now(UTC)), flush=True)
        before, count = page[-1].id, count + len(page)
    if not count and not args.json:
        print("there are no tasks")


async def _run(tasks: TaskList, args: argparse.Namespace) -> None:
    await tasks.hurry(args.id, SYSTEM)
    print(f"{args.id} is due now")


def line(task: Task, now: datetime) -> str:
    """One task of a list."""
    said = [task.id, f"{task.kind:<16}", f"{task.state.value:<8}", _when(task, now)]
    if task.user:
        said.append(f"account {task.user}")
    if task.attempts > 1 or task.error:
        said.append(f"{task.attempts} attempts")
    if task.error:
        said.append(task.error)
    return "  ".join(said)


def _when(task: Task, now: datetime) -> str:
    if task.ended is not None:
        return f"ended {task.ended.astimezone():%Y-%m-%d %H:%M:%S}"
    if task.runner or task.due is None:
        return f"by {task.runner}"
    return f"begins {task.due.astimezone():%Y-%m-%d %H:%M:%S}" if task.due > now else "due"


def described(task: Task) -> dict[str, Any]:
    """The task for JSON; times in ISO 8601, absent ones null. Not its data, which may be somebody's words."""
    return {
        "id": task.id,
        "kind": task.kind,
        "user": task.user,
        "state": task.state.value,
        "created": _iso(task.created),
        "due": _iso(task.due),
        "every": task.every,
        "attempts": task.attempts,
        "error": task.error,
        "runner": task.runner,
        "ended": _iso(task.ended),
        "result": dict(task.result),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")
