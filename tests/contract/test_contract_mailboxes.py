"""The tag Mailboxes against the contract."""

import pytest

from api.schemas.base import Request
from api.schemas.mailboxes import CreateMailbox, ListMailboxes, OneMailbox, ReadMailbox, UpdateMailbox
from tests.contract.answers import Answers
from tests.contract.schema import parameters, request_schema
from tests.support.api import Api

_MODELS: dict[str, type[Request]] = {
    "GET /users/{user}/mailboxes": ListMailboxes,
    "POST /users/{user}/mailboxes": CreateMailbox,
    "GET /users/{user}/mailboxes/{mailbox}": ReadMailbox,
    "PUT /users/{user}/mailboxes/{mailbox}": UpdateMailbox,
    "DELETE /users/{user}/mailboxes/{mailbox}": OneMailbox,
}


@pytest.mark.parametrize("operation", _MODELS, ids=str)
def test_requests_take_what_the_contract_names(operation: str) -> None:
    ours = {info.alias or name: info.is_required() for name, info in _MODELS[operation].model_fields.items()}
    named = parameters(operation, "query") | parameters(operation, "path")
    required = parameters(operation, "path")
    if operation.startswith(("POST", "PUT")):
        body = request_schema(operation)
        named |= set(body["properties"])
        required |= set(body.get("required", ()))
    if operation.startswith(("POST", "PUT")):
        named |= {"encryptMessages"}  # of the contract's next version
    assert set(ours) == named
    assert {name for name, needed in ours.items() if needed} == required | (
        {"path"} if operation.startswith("POST") else set()
    )


async def test_answers_follow_the_contract(api: Api) -> None:
    answers = Answers(api)
    path = f"/users/{await api.make_user()}/mailboxes"
    made = await answers.check(
        "POST /users/{user}/mailboxes", path, {"path": "a/b", "retention": 5, "encryptMessages": True}
    )
    one = f"{path}/{made.json['id']}"
    await answers.check("GET /users/{user}/mailboxes", f"{path}?counters=1&sizes=1&showHidden=1")
    await answers.check("GET /users/{user}/mailboxes", path)
    await answers.check("GET /users/{user}/mailboxes/{mailbox}", one)
    await answers.check("GET /users/{user}/mailboxes/{mailbox}", f"{path}/resolve?path=INBOX")
    await answers.check("PUT /users/{user}/mailboxes/{mailbox}", one, {"path": "c", "subscribed": False})
    await answers.check("DELETE /users/{user}/mailboxes/{mailbox}", one)
    of_next_version = {
        ("GET /users/{user}/mailboxes", "results[].encryptMessages"),
        ("GET /users/{user}/mailboxes/{mailbox}", "encryptMessages"),
    }
    answers.verify(extra=of_next_version)
