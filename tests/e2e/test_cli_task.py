"""`duckmail task` and `GET /duckmail/tasks`: what they tell of the tasks of a database that others use."""

import asyncio
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage.tasks import new_document
from tests.support.commands import duckmail
from tests.support.house import PASSWORD, House


async def make(house: House, kind: str, later: bool = False) -> str:
    due = datetime.now(UTC) + timedelta(hours=1) if later else None
    document = new_document(kind, {"words": "private"}, user="0123456789abcdef01234567", due=due)
    return await house.services.store.task_records.add(document)


async def test_tasks_are_listed_and_begun_by_hand(
    house: House, mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    file = tmp_path / "duckmail.toml"
    file.write_text(
        f'[server]\nhostname = "mx.example.com"\n[mongo]\nuri = "{mongo_uri}"\ndatabase = "{database_name}"\n'
        '[redis]\nurl = "none"\n'
    )

    async def task(*words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(duckmail, "task", *words, "--config", str(file))

    assert (await task("list")).stdout == "there are no tasks\n"
    done = await make(house, "sweep")
    (claim,) = await house.services.store.task_records.claim("test", 1, ["sweep"])
    await house.services.store.task_records.finish(claim, {"contents": 3})
    waits = await make(house, "sweep", later=True)
    listed = (await task("list")).stdout
    assert waits in listed
    assert done not in listed
    assert "begins" in listed
    both = [json.loads(line) for line in (await task("list", "--all", "--json")).stdout.splitlines()]
    assert [(each["id"], each["state"]) for each in both] == [(waits, "waiting"), (done, "done")]
    assert "private" not in str(both)
    assert (await task("run", waits)).stdout == f"{waits} is due now\n"
    assert await house.work() == 0, "a periodic kind is left to the runner"
    gone = await task("run", done)
    assert (gone.returncode, gone.stderr) == (1, "duckmail: No such task, or it has ended\n")


async def test_tasks_by_the_api(house: House) -> None:
    made = [await make(house, "sweep", later=True) for _ in range(3)]
    page = (await house.call("GET", "/duckmail/tasks?limit=2")).json
    assert [row["id"] for row in page["results"]] == made[:0:-1]
    rest = (await house.call("GET", f"/duckmail/tasks?limit=2&next={page['nextCursor']}")).json
    assert ([row["id"] for row in rest["results"]], rest["nextCursor"]) == (made[:1], False)
    one = (await house.call("GET", f"/duckmail/tasks/{made[0]}")).json
    assert (one["kind"], one["state"], one["user"]) == ("sweep", "waiting", "0123456789abcdef01234567")
    assert "private" not in str(one)
    missing = await house.call("GET", "/duckmail/tasks/0123456789abcdef01234567")
    assert (missing.status, missing.json["code"]) == (404, "TaskNotFound")
    assert (await house.call("GET", "/duckmail/tasks/x")).json["code"] == "InputValidationError"
    await house.make_user()
    body = {"username": "anna", "password": PASSWORD, "token": True}
    token = (await house.call("POST", "/authenticate", body)).json["token"]
    refused = await house.call("GET", "/duckmail/tasks", token=token)
    assert (refused.status, refused.json["code"]) == (403, "MissingPrivileges")
