"""Requests made up from our OpenAPI, by root and by an account: none is a server error, none hangs.

Half of them name things that exist, so that they come through to what works on those.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from api.app import ROUTES
from api.openapi.document import document
from duckmail.model.account import Principal
from duckmail.model.message import NewMessage
from tests.support.api import TOKEN
from tests.support.house import PASSWORD, House, open_house
from tests.support.posted import PICTURE

EXAMPLES = 5  # of an operation, for each way to make them
SECONDS = 60.0  # until an answer must be there
SEED = 20261
# What takes the account away comes last.
_LAST = ("DELETE /users/{user}", "PUT /users/{user}", "PUT /users/{user}/logout", "DELETE /authenticate")
# The answers of 500 that clients of the contract know: not errors of the server.
_KNOWN = {
    f"{each.method} {each.path}": {code for status, code in each.errors.values() if status == 500} for each in ROUTES
}
_STREAMS = {"GET /users/{user}/updates"}  # have their own tests

DOCUMENT: dict[str, Any] = orjson.loads(orjson.dumps(document(ROUTES)))


def _operations() -> Iterator[Any]:
    found = schemathesis.openapi.from_dict(DOCUMENT)
    rows = [result.ok() for result in found.get_all_operations()]
    rows = [row for row in rows if row.label not in _STREAMS]
    return iter(sorted(rows, key=lambda row: (row.label in _LAST, row.label)))


@dataclass(frozen=True, slots=True)
class Attack:
    """A request. `names`: of things that mostly do not exist. `real`: it is to name those that do."""

    case: Any
    names: dict[str, object]
    real: bool


@pytest.fixture(scope="module")
def attacks() -> list[Attack]:
    """What to ask, in this order, whoever asks: to make the requests up takes much longer than to answer them."""
    made: list[Attack] = []
    for operation in _operations():
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            _make(operation, mode, made)
    return made


def _make(operation: Any, mode: Any, made: list[Attack]) -> None:
    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
    def make(case: Any, real: bool) -> None:
        made.append(Attack(case, dict(case.path_parameters), real))

    make()


class Attacker:
    """Calls from a thread of its own what the house serves on the loop."""

    def __init__(self, base: str, token: str, known: dict[str, object]) -> None:
        self._base = base
        self._headers = {"X-Access-Token": token}
        self._known = known
        self.broken: dict[str, str] = {}
        self.statuses: dict[int, int] = {}

    def run(self, attacks: Sequence[Attack]) -> None:
        for attack in attacks:
            known = {name: self._known[name] for name in attack.names if name in self._known} if attack.real else {}
            attack.case.path_parameters = attack.names | known
            self._call(attack.case.operation.label, attack.case)

    def _call(self, label: str, case: Any) -> None:
        answer = case.call(base_url=self._base, headers=self._headers, timeout=SECONDS)
        self.statuses[answer.status_code] = self.statuses.get(answer.status_code, 0) + 1
        if answer.status_code >= 500 and _code(answer.content) not in _KNOWN[label]:
            self.broken.setdefault(
                label, f"{answer.status_code} {_code(answer.content)}: {case.as_curl_command()[:600]}"
            )


def _code(body: bytes) -> str:
    try:
        return str(orjson.loads(body)["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""


async def _prepare(house: House) -> tuple[str, dict[str, object]]:
    """An account with things in it: its token, and their names as path parameters."""
    user = await house.make_user()
    signed = await house.call("POST", "/authenticate", {"username": "anna", "password": PASSWORD, "token": True})
    listed = await house.call("GET", f"/users/{user}/mailboxes")
    mail = house.services.mail(Principal(user, "anna"))
    await mail.append("INBOX", [NewMessage(await mail.prepare(PICTURE))])
    made = await house.call("POST", f"/users/{user}/filters", {"query": {"from": "x"}, "action": {"seen": True}})
    known = {"user": user, "mailbox": listed.json["results"][0]["id"], "message": "1", "attachment": "ATT00001"}
    return signed.json["token"], {**known, "username": "anna", "filter": made.json["id"]}


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("root", [pytest.param(True, id="root"), pytest.param(False, id="user")])
async def test_no_request_is_a_server_error(
    root: bool, attacks: list[Attack], mongo_uri: str, database_name: str, redis_url: str
) -> None:
    async with open_house(mongo_uri, database_name, redis_url) as house:
        token, known = await _prepare(house)
        attacker = Attacker(house.base, TOKEN if root else token, known)
        await asyncio.to_thread(attacker.run, attacks)
    assert not attacker.broken, "\n".join(f"{label}: {why}" for label, why in attacker.broken.items())
    assert attacker.statuses[200] > 50
