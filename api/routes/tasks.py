"""Tasks that go on behind the answers: what there is, and what became of it."""

from api.answer import Json, iso, without_none
from api.errors import Rows
from api.paging import forwards, position
from api.permissions import Permission, Reach
from api.route import Call, Route, route
from api.schemas.tasks import ListTasks, OneTask
from duckmail.errors import NotFound
from duckmail.model.task import Task


async def list_tasks(call: Call, request: ListTasks) -> Json:
    at = position(request)
    found = await call.services.tasks.page(request.limit + 1, call.by, at.after, ended=request.ended)
    return forwards(request.limit, at, found, _row)


async def read(call: Call, request: OneTask) -> Json:
    return {"success": True, **_row(await call.services.tasks.get(request.task, call.by))}


def _row(task: Task) -> Json:
    """Not its data: what somebody searched for is theirs."""
    return without_none(
        id=task.id,
        kind=task.kind,
        user=task.user or None,
        state=task.state.value,
        created=iso(task.created),
        due=iso(task.due) if task.due else None,
        every=task.every or None,
        attempts=task.attempts,
        error=task.error or None,
        runner=task.runner or None,
        ended=iso(task.ended) if task.ended else None,
        result=dict(task.result),
    )


_NOT_FOUND: Rows = {NotFound: (404, "TaskNotFound")}

ROUTES: tuple[Route, ...] = (
    route("GET", "/duckmail/tasks", ListTasks, list_tasks, Permission("tasks", "read", Reach.ANY)),
    route(
        "GET", "/duckmail/tasks/{task}", OneTask, read, Permission("tasks", "read", Reach.ANY), errors=_NOT_FOUND
    ),
)  # fmt: skip
