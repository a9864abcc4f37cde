"""The tag Storage against the contract."""

import pytest

from api.schemas.base import Request
from api.schemas.storage import DeleteFile, DownloadFile, ListFiles, UploadFile
from tests.contract.answers import Answers
from tests.contract.schema import parameters, request_schema
from tests.support.api import Api
from tests.support.posted import NOBODY

_FILES = "/users/{user}/storage"
_FILE = f"{_FILES}/{{file}}"
_MODELS: dict[str, type[Request]] = {
    f"POST {_FILES}": UploadFile,
    f"GET {_FILES}": ListFiles,
    f"GET {_FILE}": DownloadFile,
    f"DELETE {_FILE}": DeleteFile,
}


@pytest.mark.parametrize("operation", _MODELS, ids=str)
def test_requests_take_what_the_contract_names(operation: str) -> None:
    ours = {info.alias or name: info.is_required() for name, info in _MODELS[operation].model_fields.items()}
    named = parameters(operation, "query") | parameters(operation, "path")
    required = parameters(operation, "path")
    if operation.startswith("POST"):
        body = request_schema(operation)
        named |= set(body["properties"])
        required |= set(body["required"])
    named -= {"page"}  # listings ignore keys that they do not know
    assert set(ours) == named
    assert {name for name, needed in ours.items() if needed} == required


async def test_answers_follow_the_contract(api: Api) -> None:
    answers = Answers(api)
    files = f"/users/{await api.make_user()}/storage"
    body = {"content": "aGk=", "encoding": "base64", "filename": "a.txt", "cid": "x@y", "contentType": "text/x"}
    made = await answers.check(f"POST {_FILES}", files, {**body, "sess": "s", "ip": "192.0.2.1"})
    await answers.check(f"POST {_FILES}", files, {"content": "hi"})
    await answers.check(f"GET {_FILES}", f"{files}?query=a&limit=1")
    await answers.check(f"GET {_FILES}", files)
    assert (await api.call("GET", f"{files}/{made.json['id']}")).text == "hi"
    await answers.check(f"DELETE {_FILE}", f"{files}/{made.json['id']}?sess=s&ip=192.0.2.1")
    answers.verify(extra={(f"GET {_FILES}", "query")})


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        pytest.param("POST", "/users/{user}/storage", {}, 400, "InputValidationError", id="no-content"),
        pytest.param("POST", "/users/{user}/storage", {"content": ""}, 400, "InputValidationError", id="empty"),
        pytest.param("POST", "/users/{user}/storage", {"content": 1}, 400, "InputValidationError", id="a-number"),
        pytest.param(
            "POST", "/users/{user}/storage", {"content": "x", "encoding": "rot13"}, 400, "InputValidationError",
            id="unknown-encoding",
        ),
        pytest.param(
            "POST", "/users/{user}/storage", {"content": "xy", "encoding": "hex"}, 400, "InputValidationError",
            id="no-hexadecimal",
        ),
        pytest.param(
            "POST", "/users/{user}/storage", {"content": "x", "filename": "f" * 256}, 400, "InputValidationError",
            id="long-name",
        ),
        pytest.param("POST", f"/users/{NOBODY}/storage", {"content": "x"}, 404, "UserNotFound", id="upload-nobody"),
        pytest.param("GET", f"/users/{NOBODY}/storage", None, 404, "UserNotFound", id="list-nobody"),
        pytest.param("GET", "/users/{user}/storage?next=AAAA", None, 400, "InputValidationError", id="bad-cursor"),
        pytest.param("GET", "/users/{user}/storage?limit=251", None, 400, "InputValidationError", id="large-page"),
        pytest.param("GET", f"/users/{{user}}/storage/{NOBODY}", None, 404, "FileNotFound", id="get-none"),
        pytest.param("GET", "/users/{user}/storage/x", None, 400, "InputValidationError", id="get-no-id"),
        pytest.param("DELETE", f"/users/{{user}}/storage/{NOBODY}", None, 404, "FileNotFound", id="delete-none"),
    ],
)  # fmt: skip
async def test_failures(api: Api, method: str, path: str, body: object, status: int, code: str) -> None:
    reply = await api.call(method, path.replace("{user}", await api.make_user()), body)
    assert (reply.status, reply.json["code"]) == (status, code)
