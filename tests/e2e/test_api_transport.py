"""What surrounds every operation: tokens, routes, bodies, headers, CORS, health."""

import gzip
import logging
from io import BytesIO

import pytest
from redis.asyncio import Redis
from yarl import URL

from api.services import ApiSettings
from tests.support.api import TOKEN, Api, open_api

INVALID = {"code": "InvalidToken", "message": "Invalid accessToken value"}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        pytest.param("/health", {}, 403, id="no-token"),
        pytest.param("/health", {"X-Access-Token": TOKEN}, 200, id="header"),
        pytest.param("/health", {"Authorization": TOKEN}, 200, id="authorization-bare"),
        pytest.param("/health", {"Authorization": f"bEaReR {TOKEN}"}, 200, id="authorization-bearer"),
        pytest.param(f"/health?accessToken={TOKEN}", {}, 200, id="query"),
        pytest.param("/health?accessToken=x", {"X-Access-Token": TOKEN}, 403, id="bad-query-beats-good-header"),
        pytest.param("/health", {"X-Access-Token": "x", "Authorization": TOKEN}, 403, id="bad-header-beats-good"),
        pytest.param("/health", {"X-Access-Token": TOKEN + "x"}, 403, id="longer"),
        pytest.param("/health", {"X-Access-Token": "0" * 40}, 403, id="role-token-that-is-not-there"),
        pytest.param("/health", {"X-Access-Token": "é"}, 403, id="eight-bit"),
    ],
)
async def test_token_sources(api: Api, path: str, headers: dict[str, str], status: int) -> None:
    reply = await api.call("GET", path, token="", headers=headers)
    assert reply.status == status
    if status == 403:
        assert reply.json == INVALID


async def test_without_access_control_only_a_bad_token_is_refused(mongo_uri: str, database_name: str) -> None:
    settings = ApiSettings(access_control=False)
    async with open_api(mongo_uri, database_name, settings=settings) as open_to_all:
        assert (await open_to_all.call("GET", "/users", token="")).json["total"] == 0
        assert (await open_to_all.call("GET", "/users", token="wrong")).json == INVALID


async def test_access_control_needs_no_static_token(mongo_uri: str, database_name: str) -> None:
    async with open_api(mongo_uri, database_name, settings=ApiSettings()) as closed:
        assert (await closed.call("GET", "/users", token="")).json == INVALID
        token = await closed.accounts.tokens.issue("root")
        assert (await closed.call("GET", "/users", token=token)).json["total"] == 0
        assert (await closed.call("GET", "/users/me", token=token)).status == 400


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        pytest.param(
            "GET", "/nothing", 404, {"code": "ResourceNotFound", "message": "/nothing does not exist"}, id="404"
        ),
        pytest.param("PATCH", "/users", 405, {"code": "MethodNotAllowed", "message": "PATCH is not allowed"}, id="405"),
        pytest.param(
            "OPTIONS", "/users", 405, {"code": "MethodNotAllowed", "message": "OPTIONS is not allowed"}, id="o"
        ),
        pytest.param("GET", "/users/" + "a" * 197, 404, None, id="long-segment"),
        pytest.param("GET", "/users/%zz", 404, None, id="bad-escape"),
        pytest.param("GET", "/users/%ff", 404, None, id="escape-is-not-utf-8"),
        pytest.param("GET", "/users/%00", 404, None, id="nul"),
    ],
)
async def test_routes_come_before_tokens(
    api: Api, method: str, path: str, status: int, body: dict[str, str] | None
) -> None:
    reply = await api.session.request(method, URL(api.base + path, encoded=True))
    assert reply.status == status
    found = await reply.json()
    assert found["code"] in ("ResourceNotFound", "MethodNotAllowed")
    if body is not None:
        assert found == body
    if status == 405:
        assert reply.headers["Allow"] == "GET, POST"


async def test_head_is_never_served(api: Api) -> None:
    assert (await api.call("HEAD", "/health")).status == 405


async def test_answers_are_pretty_json_with_the_common_headers(api: Api) -> None:
    reply = await api.call("GET", "/health")
    assert reply.text == '{\n  "success": true\n}\n'
    assert reply.headers["Content-Type"] == "application/json; charset=utf-8"
    assert reply.headers["Server"] == "duckmail"
    assert reply.headers["Vary"] == "Origin"
    assert "Content-Encoding" not in reply.headers


@pytest.mark.parametrize(
    ("data", "kind", "status", "code"),
    [
        pytest.param(b'{"username": "a', "application/json", 400, "InvalidContent", id="broken-json"),
        pytest.param(b"[]", "application/json", 400, "InputValidationError", id="array"),
        pytest.param(b'{"username":"\\ud800"}', "application/json", 400, "InvalidContent", id="lone-surrogate"),
        pytest.param(b"{" * 100_000, "application/json", 400, "InvalidContent", id="deep"),
        pytest.param(b"username=a&password=x", "text/plain", 400, "InputValidationError", id="not-a-form"),
        pytest.param(b"a=1&" * 1001, "application/x-www-form-urlencoded", 400, "InvalidContent", id="keys"),
        pytest.param(b" " * (5 << 20), "application/json", 413, "RequestEntityTooLarge", id="too-large"),
    ],
)
async def test_bodies_that_are_refused(api: Api, data: bytes, kind: str, status: int, code: str) -> None:
    reply = await api.call("POST", "/users", data=BytesIO(data), headers={"Content-Type": kind})
    assert (reply.status, reply.json["code"]) == (status, code)


async def test_bodies_that_are_read(api: Api) -> None:
    form = await api.call(
        "POST",
        "/users",
        data="username=anna&password=x&tags[]=a&tags[]=b&featureFlags[indexing]=true&metaData={}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert form.status == 200, form.text
    read = (await api.call("GET", f"/users/{form.json['id']}")).json
    assert (read["tags"], read["featureFlags"]) == (["a", "b"], {"indexing": True})
    packed = await api.call(
        "POST",
        "/users?username=bob",
        data=gzip.compress(b'{"username":"ignored","password":"x"}'),
        headers={"Content-Type": "application/vnd.x+json", "Content-Encoding": "gzip"},
    )
    assert (await api.call("GET", f"/users/{packed.json['id']}")).json["username"] == "bob"


async def test_a_compressed_bomb_is_refused(api: Api) -> None:
    bomb = gzip.compress(b" " * (200 << 20), 9)
    reply = await api.call(
        "POST", "/users", data=BytesIO(bomb), headers={"Content-Type": "application/json", "Content-Encoding": "gzip"}
    )
    assert reply.status == 413


async def test_violations_are_limited(api: Api) -> None:
    reply = await api.call("POST", "/users", {f"{'k' * 500}{number}": 1 for number in range(5000)})
    assert reply.status == 400
    assert len(reply.text) < 50_000


async def test_cors(api: Api, mongo_uri: str, database_name: str) -> None:
    asked = {"Origin": "https://mail.example", "Access-Control-Request-Method": "PUT"}
    preflight = await api.call("OPTIONS", "/users/me", token="", headers=asked)
    assert (preflight.status, preflight.text) == (204, "")
    assert preflight.headers["Access-Control-Allow-Origin"] == "https://mail.example"
    assert preflight.headers["Access-Control-Allow-Methods"] == "PUT, OPTIONS"
    assert "X-Access-Token" in preflight.headers["Access-Control-Allow-Headers"]
    normal = await api.call("GET", "/health", headers={"Origin": "https://mail.example"})
    assert normal.headers["Access-Control-Allow-Origin"] == "https://mail.example"
    settings = ApiSettings(access_token=TOKEN, cors_origins=("https://one.example",))
    async with open_api(mongo_uri, database_name + "_b", settings=settings) as strict:
        assert (await strict.call("OPTIONS", "/users/me", headers=asked)).status == 405
        other = await strict.call("GET", "/health", headers={"Origin": "https://mail.example"})
        assert "Access-Control-Allow-Origin" not in other.headers
        await strict.accounts.database.client.drop_database(database_name + "_b")


async def test_health_asks_the_databases(mongo_uri: str, database_name: str, redis_url: str, redis_prefix: str) -> None:
    redis = Redis.from_url(redis_url)
    async with open_api(mongo_uri, database_name, redis, redis_prefix) as api:
        assert (await api.call("GET", "/health")).json == {"success": True}
    await redis.aclose()
    away = Redis.from_url("unix:///nonexistent/redis.sock")
    async with open_api(mongo_uri, database_name, away, redis_prefix) as api:
        reply = await api.call("GET", "/health")
        assert (reply.status, reply.json) == (500, {"success": False, "message": "Redis is down"})
    await away.aclose()


async def test_no_token_and_no_query_reach_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await api.call("GET", f"/users/anna-secret-id?accessToken={TOKEN}&sess=hush")
        await api.call("POST", "/users", {"username": "anna", "password": "secretvalue"})
        await api.call("POST", "/authenticate", {"username": "anna", "password": "secretvalue", "token": True})
    fields = [getattr(record, "fields", {}) for record in caplog.records if record.name.startswith("duckmail")]
    assert {"/users", "/users/{user}", "/authenticate"} <= {line.get("route") for line in fields}
    text = caplog.text + str(fields)
    for secret in (TOKEN, "secretvalue", "hush", "anna-secret-id"):
        assert secret not in text
