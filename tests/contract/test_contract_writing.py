"""The tag Submission, and what of the tag Messages writes, against the contract."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.schemas.base import Request
from api.schemas.writing import DeleteOutbound, ForwardMessage, Submit, SubmitDraft, UploadMessage
from duckmail.services.sending import Policy
from tests.contract.answers import Answers
from tests.contract.schema import parameters, request_schema
from tests.support.api import HOSTNAME, Api, open_api
from tests.support.posted import NOBODY, Posted, open_posted
from tests.support.stores import message

_BOX = "/users/{user}/mailboxes/{mailbox}/messages"
_ONE = f"{_BOX}/{{message}}"
_SUBMIT = "/users/{user}/submit"
_QUEUED = "/users/{user}/outbound/{queueId}"
_MODELS: dict[str, type[Request]] = {
    f"POST {_BOX}": UploadMessage,
    f"POST {_ONE}/forward": ForwardMessage,
    f"POST {_ONE}/submit": SubmitDraft,
    f"POST {_SUBMIT}": Submit,
    f"DELETE {_QUEUED}": DeleteOutbound,
}
TO = [{"address": "x@remote.example"}]


@pytest.fixture
async def api(mongo_uri: str, database_name: str) -> AsyncIterator[Api]:
    async with open_api(mongo_uri, database_name, policy=Policy(HOSTNAME, recipients=2, largest=100_000)) as opened:
        yield opened


@pytest.fixture
async def posted(api: Api) -> Posted:
    return await open_posted(api)


@pytest.mark.parametrize("operation", _MODELS, ids=str)
def test_requests_take_what_the_contract_names(operation: str) -> None:
    ours = {info.alias or name: info.is_required() for name, info in _MODELS[operation].model_fields.items()}
    named = parameters(operation, "query") | parameters(operation, "path")
    required = parameters(operation, "path")
    if operation.startswith("POST"):
        body = request_schema(operation)
        named |= set(body["properties"])
        required |= set(body.get("required", ()))
    assert set(ours) == named
    assert {name for name, needed in ours.items() if needed} == required


async def test_answers_follow_the_contract(posted: Posted) -> None:
    answers = Answers(posted.api)
    user, box = f"/users/{posted.user}", posted.messages
    drafts = await posted.path_id("Drafts")
    whole: dict[str, Any] = {
        "from": {"name": "Anna", "address": "anna@example.com"},
        "replyTo": {"address": "r@x.example"},
        "to": TO,
        "cc": [],
        "bcc": [],
        "headers": [{"key": "X-Mailer", "value": "m"}],
        "subject": "s",
        "text": "t",
        "html": "<p>t",
        "attachments": [{"content": "eA==", "filename": "x.txt", "cid": "c", "contentDisposition": "inline"}],
        "sess": "s",
        "ip": "192.0.2.1",
    }
    files = f"{user}/storage"
    file = (await posted.api.call("POST", files, {"content": "x"})).json["id"]
    first = await answers.check(f"POST {_BOX}", box, {**whole, "metaData": {"a": 1}, "date": "2026-01-01"})
    reference = {"mailbox": posted.mailbox, "id": 1, "action": "reply", "attachments": True}
    more = {"files": [file], "bimi": {"domain": "x.example", "selector": "s"}, "unseen": True, "flagged": True}
    again = {**whole, **more, "reference": reference, "replacePrevious": {"id": first.json["message"]["id"]}}
    await answers.check(f"POST {_BOX}", box, again)
    await answers.check(f"POST {_BOX}", box, {"raw": "U3ViamVjdDogeA==", "draft": True, "replacePrevious": {"id": 9}})
    kept = await answers.check(f"POST {_BOX}", f"{user}/mailboxes/{drafts}/messages", {**whole, "draft": True})
    draft = f"{user}/mailboxes/{drafts}/messages/{kept.json['message']['id']}"
    sent = await answers.check(
        f"POST {_ONE}/submit", f"{draft}/submit", {"deleteFiles": True, "sendTime": "2031-01-01"}
    )
    assert len(sent.json["queueId"]) == 24
    await answers.check(f"POST {_ONE}/forward", f"{box}/2/forward", {"addresses": ["y@remote.example"]})
    await answers.check(f"POST {_ONE}/forward", f"{box}/2/forward", {"target": 1})
    envelope = {"from": {"address": "anna@example.com"}, "to": TO}
    await answers.check(f"POST {_SUBMIT}", f"{user}/submit", {**whole, "envelope": envelope, "meta": {"a": 1}, "x": 1})
    await answers.check(f"POST {_SUBMIT}", f"{user}/submit", {**whole, "isDraft": True})
    await answers.check(f"DELETE {_QUEUED}", f"{user}/outbound/{sent.json['queueId']}?sess=s")
    answers.verify(extra={(f"POST {_BOX}", "message.mailbox")})


_BAD: dict[str, Any] = {
    "upload-bad-sender": ("POST", "{box}", {"from": {"address": "x"}}, 400, "InputValidationError"),
    "upload-bad-cc": ("POST", "{box}", {"cc": [{"address": "x"}]}, 400, "InputValidationError"),
    "upload-unknown-key": ("POST", "{box}", {"x": 1}, 400, "InputValidationError"),
    "upload-long-subject": ("POST", "{box}", {"subject": "x" * 2049}, 400, "InputValidationError"),
    "upload-bad-action": (
        "POST", "{box}", {"reference": {"mailbox": NOBODY, "id": 1, "action": "x"}}, 400, "InputValidationError"
    ),
    "upload-attachment-without-content": ("POST", "{box}", {"attachments": [{}]}, 400, "InputValidationError"),
    "upload-bad-hexadecimal": (
        "POST", "{box}", {"attachments": [{"content": "x", "encoding": "hex"}]}, 400, "InputValidationError"
    ),
    "upload-too-large": ("POST", "{box}", {"text": "x" * 100_001}, 400, "InputValidationError"),
    "upload-no-mailbox": ("POST", f"/users/{{user}}/mailboxes/{NOBODY}/messages", {}, 404, "NoSuchMailbox"),
    "upload-nobody": ("POST", f"/users/{NOBODY}/mailboxes/{{mailbox}}/messages", {}, 404, "NoSuchMailbox"),
    "submit-no-draft": ("POST", "{box}/1/submit", {}, 400, "MessageNotDraft"),
    "submit-no-message": ("POST", "{box}/9/submit", {}, 404, "MessageNotFound"),
    "submit-no-mailbox": ("POST", f"/users/{{user}}/mailboxes/{NOBODY}/messages/1/submit", {}, 404, "NoSuchMailbox"),
    "submit-bad-time": ("POST", "{box}/1/submit", {"sendTime": "x"}, 400, "InputValidationError"),
    "forward-bad-address": ("POST", "{box}/1/forward", {"addresses": ["x"]}, 400, "InputValidationError"),
    "forward-no-message": ("POST", "{box}/9/forward", {"addresses": ["x@y.example"]}, 404, "MessageNotFound"),
    "forward-no-mailbox": ("POST", f"/users/{{user}}/mailboxes/{NOBODY}/messages/1/forward", {}, 404, "NoSuchMailbox"),
    "outbound-no-id": ("DELETE", "/users/{user}/outbound/abc", None, 400, "InputValidationError"),
    "outbound-unknown": ("DELETE", f"/users/{{user}}/outbound/{NOBODY}", None, 200, "NoSuchQueueEntry"),
    "outbound-short": ("DELETE", "/users/{user}/outbound/0123456789abcdef01", None, 200, "NoSuchQueueEntry"),
    "send-nobody": ("POST", f"/users/{NOBODY}/submit", {"to": TO}, 404, "UserNotFound"),
    "send-to-nobody": ("POST", "/users/{user}/submit", {"text": "x"}, 400, "ENORECIPIENTS"),
    "send-only-bad-addresses": ("POST", "/users/{user}/submit", {"to": [{"address": "x"}]}, 400, "ENORECIPIENTS"),
    "send-too-many": (
        "POST", "/users/{user}/submit", {"to": [{"address": f"x{n}@y.example"} for n in range(3)]}, 403, "TooMany"
    ),
    "send-no-mailbox": ("POST", "/users/{user}/submit", {"to": TO, "mailbox": NOBODY}, 404, "NoSuchMailbox"),
    "send-bad-envelope": ("POST", "/users/{user}/submit", {"envelope": {"to": [{}]}}, 400, "InputValidationError"),
}  # fmt: skip


@pytest.mark.parametrize("case", _BAD)
async def test_failures(posted: Posted, case: str) -> None:
    await posted.post(message(1))
    method, path, body, status, code = _BAD[case]
    where = path.format(user=posted.user, mailbox=posted.mailbox, box=posted.messages)
    reply = await posted.api.call(method, where, body)
    assert (reply.status, reply.json["code"]) == (status, code), reply.text
    assert await posted.api.store.database["queue"].count_documents({}) == 0


async def test_disabled_accounts_write_nothing(posted: Posted) -> None:
    await posted.post(message(1), ("\\Draft",))
    assert (await posted.api.call("PUT", f"/users/{posted.user}", {"suspended": True})).status == 200
    for path in (posted.messages, f"{posted.messages}/1/submit", f"{posted.messages}/1/forward"):
        reply = await posted.api.call("POST", path, {})
        assert (reply.status, reply.json["code"]) == (403, "UserDisabled")
    reply = await posted.api.call("POST", f"/users/{posted.user}/submit", {"to": TO})
    assert (reply.status, reply.json["code"]) == (403, "UserDisabled")


async def test_limits_of_a_day(posted: Posted) -> None:
    assert (await posted.api.call("PUT", f"/users/{posted.user}", {"recipients": 1, "forwards": 1})).status == 200
    await posted.post(message(1))
    submit, forward = f"/users/{posted.user}/submit", f"{posted.messages}/1/forward"
    two = [*TO, {"address": "y@remote.example"}]
    for body, status in (({"to": two}, 403), ({"to": TO}, 200), ({"to": TO}, 403)):
        assert (await posted.api.call("POST", submit, body)).status == status
    reply = await posted.api.call("POST", submit, {"to": TO})
    assert reply.json["code"] == "RateLimitedError"
    assert reply.json["error"] == "You reached a daily sending limit for your account. Limit expires in 24 hours"
    for addresses, status in ((["a@b.example", "c@d.example"], 403), (["a@b.example"], 200), (["a@b.example"], 403)):
        assert (await posted.api.call("POST", forward, {"addresses": addresses})).status == status
