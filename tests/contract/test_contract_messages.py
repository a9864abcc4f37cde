"""The tags Messages (what reads and changes) and Archive against the contract."""

import pytest

from api.schemas.archive import ListArchived, RestoreOne, RestoreRange
from api.schemas.base import Request
from api.schemas.messages import (
    ActOnSearch,
    DeleteMessages,
    ListMessages,
    OneMessage,
    ReadAttachment,
    ReadMessage,
    Search,
    UpdateMessages,
)
from tests.contract.answers import Answers
from tests.contract.schema import parameters, request_schema
from tests.support.api import Api
from tests.support.posted import PICTURE, open_posted
from tests.support.stores import message

_BOX = "/users/{user}/mailboxes/{mailbox}/messages"
_MODELS: dict[str, type[Request]] = {
    f"GET {_BOX}": ListMessages,
    f"PUT {_BOX}": UpdateMessages,
    f"DELETE {_BOX}": DeleteMessages,
    f"GET {_BOX}/{{message}}": ReadMessage,
    f"PUT {_BOX}/{{message}}": UpdateMessages,
    f"DELETE {_BOX}/{{message}}": OneMessage,
    f"GET {_BOX}/{{message}}/message.eml": OneMessage,
    f"GET {_BOX}/{{message}}/attachments/{{attachment}}": ReadAttachment,
    "GET /users/{user}/search": Search,
    "POST /users/{user}/search": ActOnSearch,
    "GET /users/{user}/archived/messages": ListArchived,
    "POST /users/{user}/archived/restore": RestoreRange,
    "POST /users/{user}/archived/messages/{message}/restore": RestoreOne,
}
# Of the version of the reference server that is newer than its contract.
_NEWER = {"GET /users/{user}/search": {"seen"}, "POST /users/{user}/search": {"seen"}}


@pytest.mark.parametrize("operation", _MODELS, ids=str)
def test_requests_take_what_the_contract_names(operation: str) -> None:
    ours = {info.alias or name: info.is_required() for name, info in _MODELS[operation].model_fields.items()}
    named = parameters(operation, "query") | parameters(operation, "path")
    required = parameters(operation, "path")
    if operation.startswith(("POST", "PUT")):
        body = request_schema(operation)
        named |= set(body["properties"])
        required |= set(body.get("required", ()))
    named -= {"page"}  # listings ignore keys that they do not know
    assert set(ours) - _NEWER.get(operation, set()) == named
    assert {name for name, needed in ours.items() if needed} == required


async def test_answers_follow_the_contract(api: Api) -> None:
    answers = Answers(api)
    posted = await open_posted(api)
    user, box = f"/users/{posted.user}", posted.messages
    await posted.post(PICTURE, ("\\Seen",), prefix=b"Return-Path: <a@b.example>\r\nDelivered-To: anna@example.com\r\n")
    await posted.post(message(2))
    await posted.post(b"\r\n")
    await answers.check(f"PUT {_BOX}/{{message}}", f"{box}/1", {"flagged": True, "metaData": {"a": 1}})
    await answers.check(f"PUT {_BOX}", box, {"message": "1:*", "expires": "2031-01-01"})
    everything = "metaData=1&threadCounters=1&includeHeaders=1"
    await answers.check(f"GET {_BOX}", f"{box}?{everything}&limit=2")
    await answers.check(f"GET {_BOX}", box)
    await answers.check(f"GET {_BOX}/{{message}}", f"{box}/1?markAsSeen=1&replaceCidLinks=1")
    await answers.check(f"GET {_BOX}/{{message}}", f"{box}/3")
    file = (await api.call("POST", f"{user}/storage", {"content": "x"})).json["id"]
    written = {"files": [file], "replyTo": {"address": "r@x.example"}}
    reference = {"mailbox": posted.mailbox, "id": 1, "action": "reply"}
    assert (await api.call("POST", box, {**written, "reference": reference})).status == 200
    await answers.check(f"GET {_BOX}/{{message}}", f"{box}/4")
    search = "/users/{user}/search"
    await answers.check(f"GET {search}", f"{user}/search?query=number&{everything}")
    await answers.check(f"GET {search}", f"{user}/search")
    await answers.check(f"POST {search}", f"{user}/search", {"subject": "number", "action": {"seen": True}})
    trash = await posted.path_id("Trash")
    await answers.check(f"PUT {_BOX}/{{message}}", f"{box}/2", {"moveTo": trash})
    await answers.check(f"DELETE {_BOX}/{{message}}", f"{box}/1")
    await answers.check(f"DELETE {_BOX}", box)
    archive = f"{user}/archived"
    listed = await answers.check("GET /users/{user}/archived/messages", f"{archive}/messages?includeHeaders=1")
    one = f"{archive}/messages/{listed.json['results'][0]['id']}/restore"
    await answers.check("POST /users/{user}/archived/messages/{message}/restore", one, {})
    body = {"start": "2020-01-01", "end": "2031-01-01"}
    await answers.check("POST /users/{user}/archived/restore", f"{archive}/restore", body)
    answers.verify(extra=_EXTRA)


_EXTRA = {
    *((operation, "results[].attachmentsList") for operation in (
        f"GET {_BOX}", "GET /users/{user}/search", "GET /users/{user}/archived/messages",
    )),
    (f"GET {_BOX}/{{message}}", "attachments[].cid"),
    (f"GET {_BOX}/{{message}}", "attachments[].size"),
}  # fmt: skip
