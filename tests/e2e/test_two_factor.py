"""Second factors over HTTP and in the mail protocols; the codes come from an authenticator of our own."""

import hashlib
import hmac
import struct
import time
from base64 import b32decode

import pytest

from tests.support.house import PASSWORD, House


def code(seed: str, steps: int = 0) -> str:
    """RFC 6238 §4, written a second time; `steps` from now."""
    counter = struct.pack(">Q", int(time.time()) // 30 + steps)
    digest = hmac.digest(b32decode(seed), counter, hashlib.sha1)
    at = digest[-1] & 15
    return f"{(int.from_bytes(digest[at : at + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


async def _seed(house: House, user: str, token: str | None = None) -> str:
    options = {"token": token} if token else {}
    reply = await house.call("POST", f"/users/{user}/2fa/totp/setup", {"issuer": "Duck & Sons"}, **options)
    assert reply.status == 200, reply.text
    assert reply.json["qrcode"].startswith("data:image/png;base64,")
    seed: str = reply.json["seed"]
    assert len(seed) == 32
    return seed


async def _token(house: House) -> str:
    body = {"username": "anna", "password": PASSWORD, "token": True}
    token: str = (await house.call("POST", "/authenticate", body)).json["token"]
    return token


async def _enabled(house: House) -> tuple[str, str]:
    """An account and the seed of its codes, the one of now used."""
    user = await house.make_user()
    seed = await _seed(house, user)
    reply = await house.call("POST", f"/users/{user}/2fa/totp/enable", {"token": code(seed)})
    assert reply.json == {"success": True}
    return user, seed


async def _check(house: House, user: str, typed: str) -> tuple[int, str]:
    reply = await house.call("POST", f"/users/{user}/2fa/totp/check", {"token": typed})
    return reply.status, reply.json.get("code", "")


async def test_the_first_method_ends_what_was_signed_in_without(house: House) -> None:
    user = await house.make_user()
    mine, other = await _token(house), await _token(house)
    lines, _ = await house.imap()
    seed = await _seed(house, "me", mine)
    assert (await house.call("GET", f"/users/{user}")).json["enabled2fa"] == []
    enabled = await house.call("POST", "/users/me/2fa/totp/enable", {"token": code(seed)}, mine)
    assert enabled.status == 200
    assert (await house.call("GET", "/users/me", token=mine)).json["enabled2fa"] == ["totp"]
    assert (await house.call("GET", "/users/me", token=other)).status == 403
    assert (await lines.line()).startswith("* BYE ")
    signed_in = await house.call("POST", "/authenticate", {"username": "anna", "password": PASSWORD})
    assert signed_in.json["require2fa"] == ["totp"]
    assert (await house.call("POST", "/preauth", {"username": "anna"})).json["require2fa"] == ["totp"]


async def test_mail_programs_need_an_application_password(house: House) -> None:
    user, _ = await _enabled(house)
    for name, beginning in (("imap", "a OK"), ("pop3", "+OK"), ("submission", "235")):
        assert not (await getattr(house, name)())[1].startswith(beginning)
    refused = await house.call("POST", "/authenticate", {"username": "anna", "password": PASSWORD, "scope": "imap"})
    assert (refused.status, refused.json["code"]) == (403, "InvalidAuthScope")
    body = {"description": "phone", "scopes": ["imap"]}
    made = (await house.call("POST", f"/users/{user}/asps", body)).json
    assert (await house.imap(password=made["password"]))[1].startswith("a OK")
    assert (await house.call("DELETE", f"/users/{user}/2fa/totp")).status == 200
    assert (await house.imap())[1].startswith("a OK")


async def test_a_code_is_good_once(house: House) -> None:
    user, seed = await _enabled(house)
    assert await _check(house, user, code(seed)) == (403, "RateLimitedError")
    for steps in (-6, 2, 6):
        assert await _check(house, user, code(seed, steps)) == (200, ""), steps
        assert await _check(house, user, code(seed, steps)) == (403, "RateLimitedError")
    for steps in (-9, 9):
        assert await _check(house, user, code(seed, steps)) == (403, "InvalidToken")
    assert await _check(house, user, "abcdef") == (403, "InvalidToken")
    assert (await _check(house, user, "12345"))[0] == 400


async def test_guessing_is_throttled_with_the_logins(house: House) -> None:
    user, seed = await _enabled(house)
    for _ in range(12):
        assert await _check(house, user, "abcdef") == (403, "InvalidToken")
    assert await _check(house, user, code(seed, 3)) == (403, "RateLimitedError")
    locked = await house.call("POST", "/authenticate", {"username": "anna", "password": PASSWORD})
    assert locked.json["code"] == "RateLimitedError"


async def test_states_of_totp(house: House) -> None:
    user = await house.make_user()
    path = f"/users/{user}/2fa/totp"
    early = await house.call("POST", f"{path}/enable", {"token": "123456"})
    assert (early.status, early.json["code"]) == (400, "TotpDisabled")
    assert await _check(house, user, "123456") == (400, "TotpDisabled")
    assert (await house.call("DELETE", path)).json["code"] == "TotpDisabled"
    replaced, seed = await _seed(house, user), await _seed(house, user)
    old = await house.call("POST", f"{path}/enable", {"token": code(replaced)})
    assert (old.status, old.json["code"]) == (400, "InvalidToken")
    assert (await house.call("POST", f"{path}/enable", {"token": code(seed)})).status == 200
    again = await house.call("POST", f"{path}/setup", {"issuer": "x"})
    assert (again.status, again.json["code"]) == (400, "TotpEnabled")
    assert (await house.call("POST", f"{path}/enable", {"token": code(seed, 1)})).json["code"] == "TotpEnabled"


@pytest.mark.parametrize("way", ["delete", "update", "reset"])
async def test_all_of_them_go(house: House, way: str) -> None:
    user, _ = await _enabled(house)
    await house.call("PUT", f"/users/{user}/2fa/custom")
    assert (await house.call("GET", f"/users/{user}")).json["enabled2fa"] == ["totp", "custom"]
    if way == "delete":
        assert (await house.call("DELETE", f"/users/{user}/2fa")).status == 200
    elif way == "update":
        assert (await house.call("PUT", f"/users/{user}", {"disable2fa": True})).status == 200
    else:
        password = (await house.call("POST", f"/users/{user}/password/reset")).json["password"]
        signed_in = await house.call("POST", "/authenticate", {"username": "anna", "password": password})
        assert signed_in.json["require2fa"] is False
    assert (await house.call("GET", f"/users/{user}")).json["enabled2fa"] == []
    document = await house.services.store.database["users"].find_one({})
    assert not {"seed", "pendingSeed"} & set(document or {})


async def test_the_database_alone_tells_no_seed(house: House) -> None:
    _, seed = await _enabled(house)
    async for document in house.services.store.database["users"].find({}):
        assert seed not in str(document)
        assert b32decode(seed) not in document["seed"]
    key = house.services.config.server.data / "seal-key"
    assert key.stat().st_mode & 0o777 == 0o600


async def test_a_user_reaches_only_its_own(house: House) -> None:
    await house.make_user()
    bert = await house.make_user("bert")
    token = await _token(house)
    for method, path, body in (
        ("POST", "totp/setup", {"issuer": "x"}),
        ("POST", "totp/enable", {"token": "123456"}),
        ("POST", "totp/check", {"token": "123456"}),
        ("DELETE", "totp", None),
        ("PUT", "custom", None),
        ("DELETE", "custom", None),
        ("DELETE", "", None),
    ):
        reply = await house.call(method, f"/users/{bert}/2fa/{path}".rstrip("/"), body, token)
        assert (reply.status, reply.json["code"]) == (403, "MissingPrivileges"), path
