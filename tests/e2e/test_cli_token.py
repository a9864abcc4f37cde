"""`duckmail token`: what it makes opens the API, is listed without its secret, and is over when it is revoked."""

import asyncio
import re
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.api import Api
from tests.support.commands import duckmail

Token = Callable[..., Awaitable[subprocess.CompletedProcess[str]]]


@pytest.fixture
def token(mongo_uri: str, database_name: str, tmp_path: Path) -> Token:
    file = tmp_path / "duckmail.toml"
    file.write_text(
        f'[server]\nhostname = "mx.example.com"\ndata = "{tmp_path}/data"\n'
        f'[mongo]\nuri = "{mongo_uri}"\ndatabase = "{database_name}"\n[redis]\nurl = "none"\n'
    )

    async def run(*words: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(duckmail, "token", *words, "--config", str(file))

    return run


async def test_a_token_of_a_role_is_made_listed_and_revoked(api: Api, token: Token) -> None:
    made = await token("create", "manager", "--note", "billing", "--ttl", "90 d")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    assert re.fullmatch("[0-9a-f]{40}", secret)
    assert (await api.call("GET", "/users", token=secret)).status == 200
    assert (await api.call("GET", "/users/me/mailboxes", token=secret)).status == 400
    refused = await api.call("POST", "/data/export", {}, token=secret)
    assert refused.status in (403, 404)

    listed = await token("list")
    assert "manager" in listed.stdout
    assert "billing" in listed.stdout
    assert secret not in listed.stdout

    name = listed.stdout.split()[0]
    assert (await token("revoke", name)).stdout == "revoked a token of the role manager\n"
    gone = await api.call("GET", "/users", token=secret)
    assert (gone.status, gone.json["code"]) == (403, "InvalidToken")
    assert (await token("list")).stdout == ""
    again = await token("revoke", name)
    assert (again.returncode, again.stderr) == (1, "duckmail: There is no such token\n")


async def test_a_token_of_an_account_is_its_own(api: Api, token: Token) -> None:
    user = await api.make_user("anna")
    other = await api.make_user("bert")
    made = await token("create", "user", "--user", "anna@example.com")
    secret = made.stdout.strip()
    assert (await api.call("GET", "/users/me", token=secret)).json["id"] == user
    assert (await api.call("GET", f"/users/{other}", token=secret)).status == 403
    assert (await token("list")).stdout == ""
    assert " user " in (await token("list", "--user", "anna")).stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(("create", "user"), "belongs to an account", id="user-without-account"),
        pytest.param(("create", "manager", "--user", "anna"), "belongs to an account", id="manager-of-an-account"),
        pytest.param(("create", "user", "--user", "nobody"), "no account nobody", id="unknown-account"),
        pytest.param(("create", "admin"), "invalid choice", id="unknown-role"),
        pytest.param(("create", "manager", "--ttl", "1000 d"), "180 days", id="too-long"),
        pytest.param(("create", "manager", "--note", "a\nb"), "one line", id="note-of-two-lines"),
        pytest.param(("revoke", "abc"), "8 to 64", id="short-id"),
        pytest.param(("revoke", "0" * 16), "no such token", id="unknown-id"),
    ],
)
async def test_what_is_refused(api: Api, token: Token, words: tuple[str, ...], says: str) -> None:
    await api.make_user("anna")
    done = await token(*words)
    assert done.returncode != 0
    assert says in done.stderr
    assert done.stdout == ""
