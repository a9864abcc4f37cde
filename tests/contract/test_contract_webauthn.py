"""Security keys: whole ceremonies with a software authenticator, against the contract, and every way they fail."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.contract.driving import Drive
from tests.support.authenticator import Authenticator
from tests.support.house import House

NOBODY = "0" * 24
_BASE = "/users/{user}/2fa/webauthn"
ASK = {"origin": "https://webmail.example.com/login", "sess": "s", "ip": "192.0.2.1"}


async def _post(house: House, user: str, step: str, body: object, token: str = "") -> Any:
    path = f"/users/{user}/2fa/webauthn/{step}"
    return await (house.call("POST", path, body, token) if token else house.call("POST", path, body))


async def _register(house: House, user: str, key: Authenticator, **ask: str) -> Any:
    asked = await _post(house, user, "registration-challenge", {**ASK, "description": "a key", **ask})
    assert asked.status == 200, asked.text
    challenge = asked.json["registrationOptions"]["challenge"]
    return await _post(house, user, "registration-attestation", key.register(challenge))


async def _challenge(house: House, user: str, **ask: str) -> str:
    asked = await _post(house, user, "authentication-challenge", {**ASK, **ask})
    assert asked.status == 200, asked.text
    return str(asked.json["authenticationOptions"]["challenge"])


async def _sign_in(house: House, user: str, key: Authenticator, **more: object) -> Any:
    challenge = await _challenge(house, user)
    return await _post(house, user, "authentication-assertion", {**key.sign(challenge), **more})


def _outcome(reply: Any) -> tuple[int, str]:
    return reply.status, reply.json.get("code", "")


async def test_the_contract(house: House) -> None:
    drive = Drive(house)
    user = await house.make_user(name="Anna")
    key = Authenticator()

    async def post(step: str, body: object, **expected: Any) -> Any:
        who = expected.pop("who", user)
        return await drive(f"POST {_BASE}/{step}", f"/users/{who}/2fa/webauthn/{step}", body, **expected)

    ask = {**ASK, "description": "a key"}
    await post("registration-challenge", ASK, status=400, code="InputValidationError")
    await post("registration-challenge", {**ask, "authenticatorAttachment": "x"}, status=400)
    await post("registration-challenge", {**ask, "origin": "nonsense"}, status=400)
    await post("registration-challenge", ask, who=NOBODY, status=404, code="UserNotFound")
    await post("authentication-challenge", ASK, status=400, code="WebAuthnDisabled")
    await post("authentication-challenge", ASK, who=NOBODY, status=404, code="UserNotFound")
    options = (await post("registration-challenge", ask)).json["registrationOptions"]
    assert options["rp"] == {"id": "mail.example.com", "name": "mail.example.com"}
    assert options["user"] == {"id": user, "name": "anna@example.com", "displayName": "Anna"}
    assert len(options["challenge"]) == 128
    assert [each["alg"] for each in options["pubKeyCredParams"]] == [-7, -257]
    answer = key.register(options["challenge"])
    await post("registration-attestation", {**answer, "rawId": "xyz"}, status=400, code="InputValidationError")
    await post("registration-attestation", {**answer, "challenge": "ab"}, status=404, code="ChallengeNotFound")
    made = (await post("registration-attestation", answer)).json["response"]
    assert made == {
        "success": True,
        "id": made["id"],
        "rawId": key.raw_id.hex(),
        "description": "a key",
        "authenticatorAttachment": "cross-platform",
    }
    again = (await post("registration-challenge", ask)).json["registrationOptions"]
    assert again["excludeCredentials"][0]["rawId"] == key.raw_id.hex()

    options = (await post("authentication-challenge", ASK)).json["authenticationOptions"]
    assert options["allowCredentials"] == [{"rawId": key.raw_id.hex(), "type": "public-key"}]
    answer = key.sign(options["challenge"])
    await post("authentication-assertion", {**answer, "rawId": "abcd"}, status=404, code="CredentialsNotFound")
    reply = (await post("authentication-assertion", {**answer, "token": True})).json
    assert reply["response"] == {"authenticated": True, "credential": made["id"]}
    assert (await house.call("GET", "/users/me", token=reply["token"])).json["id"] == user
    await post("authentication-assertion", answer, who=NOBODY, status=404, code="UserNotFound")

    keys, one = f"/users/{user}/2fa/webauthn/credentials", f"/users/{user}/2fa/webauthn/credentials/{made['id']}"
    listed = await drive(f"GET {_BASE}/credentials", keys)
    assert [each["id"] for each in listed.json["credentials"]] == [made["id"]]
    nobody = keys.replace(user, NOBODY)
    await drive(f"GET {_BASE}/credentials", nobody, status=404, code="UserNotFound")
    assert (await drive(f"DELETE {_BASE}/credentials/{{credential}}", one)).json["deleted"] is True
    assert (await drive(f"DELETE {_BASE}/credentials/{{credential}}", one)).json["deleted"] is False
    gone = f"{nobody}/{made['id']}"
    await drive(f"DELETE {_BASE}/credentials/{{credential}}", gone, status=404, code="UserNotFound")
    await post("authentication-assertion", answer, status=400, code="WebAuthnDisabled")
    registered = "registrationOptions"
    drive.finish(
        {
            (f"GET {_BASE}/credentials", "credentials[].description"),
            (f"POST {_BASE}/registration-challenge", f"{registered}.pubKeyCredParams"),
            (f"POST {_BASE}/registration-challenge", f"{registered}.timeout"),
            (f"POST {_BASE}/registration-challenge", f"{registered}.attestation"),
            (f"POST {_BASE}/registration-challenge", f"{registered}.authenticatorSelection.requireResidentKey"),
            (f"POST {_BASE}/registration-challenge", f"{registered}.authenticatorSelection.userVerification"),
            (f"POST {_BASE}/registration-attestation", "response"),
        }
    )


async def test_the_method_is_on_while_there_is_a_key(house: House) -> None:
    user = await house.make_user()
    keys = [Authenticator(), Authenticator()]
    ids = [(await _register(house, user, key)).json["response"]["id"] for key in keys]
    assert (await house.call("GET", f"/users/{user}")).json["enabled2fa"] == ["webauthn"]
    _, refused = await house.imap()
    assert refused.startswith("a NO")  # mail programs need passwords of their own
    path = f"/users/{user}/2fa/webauthn/credentials"
    await house.call("DELETE", f"{path}/{ids[0]}")
    assert (await house.call("GET", f"/users/{user}")).json["enabled2fa"] == ["webauthn"]
    await house.call("DELETE", f"{path}/{ids[1]}")
    assert (await house.call("GET", f"/users/{user}")).json["enabled2fa"] == []
    _, accepted = await house.imap()
    assert accepted.startswith("a OK")


async def test_disabling_all_methods_forgets_the_keys(house: House) -> None:
    user = await house.make_user()
    await _register(house, user, Authenticator())
    assert (await house.call("PUT", f"/users/{user}", {"disable2fa": True})).status == 200
    assert (await house.call("GET", f"/users/{user}/2fa/webauthn/credentials")).json["credentials"] == []
    assert (await house.call("GET", f"/users/{user}")).json["enabled2fa"] == []


async def test_a_challenge_is_answered_once(house: House) -> None:
    user = await house.make_user()
    key = Authenticator()
    await _register(house, user, key)
    challenge = await _challenge(house, user)
    answers = [key.sign(challenge) for _ in range(5)]
    replies = await asyncio.gather(*(_post(house, user, "authentication-assertion", each) for each in answers))
    assert sorted(map(_outcome, replies)) == [(200, ""), *([(404, "ChallengeNotFound")] * 4)]


async def test_a_wrong_answer_uses_the_challenge_up(house: House) -> None:
    user = await house.make_user()
    key = Authenticator()
    await _register(house, user, key)
    challenge = await _challenge(house, user)
    answer = key.sign(challenge)
    wrong = {**answer, "signature": key.sign("ab")["signature"]}
    assert _outcome(await _post(house, user, "authentication-assertion", wrong)) == (403, "AuthFailed")
    assert _outcome(await _post(house, user, "authentication-assertion", answer)) == (404, "ChallengeNotFound")


async def test_a_challenge_belongs_to_one_account_and_one_purpose(house: House) -> None:
    anna, bert = await house.make_user(), await house.make_user("bert")
    key = Authenticator()
    await _register(house, anna, key)
    await _register(house, bert, Authenticator(raw_id=key.raw_id, key=key.key))
    challenge = await _challenge(house, anna)
    stolen = await _post(house, bert, "authentication-assertion", key.sign(challenge))
    assert _outcome(stolen) == (404, "ChallengeNotFound")
    other = await _post(house, anna, "registration-attestation", Authenticator().register(challenge))
    assert _outcome(other) == (404, "ChallengeNotFound")
    assert (await _post(house, anna, "authentication-assertion", key.sign(challenge))).status == 200


async def test_a_challenge_gets_old(house: House) -> None:
    user = await house.make_user()
    key = Authenticator()
    await _register(house, user, key)
    challenge = await _challenge(house, user)
    past = {"$set": {"expires": datetime.now(UTC) - timedelta(seconds=1)}}
    await house.services.store.database["webauthnchallenges"].update_many({}, past)
    late = await _post(house, user, "authentication-assertion", key.sign(challenge))
    assert _outcome(late) == (404, "ChallengeNotFound")


async def test_an_account_has_few_challenges_that_wait(house: House) -> None:
    user = await house.make_user()
    key = Authenticator()
    await _register(house, user, key)
    challenges = [await _challenge(house, user) for _ in range(25)]
    waiting = house.services.store.database["webauthnchallenges"]
    assert await waiting.count_documents({}) == 20
    assert (await _post(house, user, "authentication-assertion", key.sign(challenges[-1]))).status == 200


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param({"origin": "https://evil.example"}, id="another-page"),
        pytest.param({"rp_id": "evil.example"}, id="another-party"),
        pytest.param({"flags": 0}, id="nobody-present"),
    ],
)
async def test_what_a_key_signed_for_others_is_refused(house: House, forged: dict[str, Any]) -> None:
    user = await house.make_user()
    key = Authenticator()
    await _register(house, user, key)
    other = Authenticator(raw_id=key.raw_id, key=key.key, **forged)
    assert _outcome(await _sign_in(house, user, other)) == (403, "AuthFailed")
    assert _outcome(await _register(house, user, Authenticator(**forged))) == (403, "AuthFailed")
    assert len((await house.call("GET", f"/users/{user}/2fa/webauthn/credentials")).json["credentials"]) == 1


async def test_another_key_does_not_answer_for_one(house: House) -> None:
    user = await house.make_user()
    key = Authenticator()
    await _register(house, user, key)
    assert _outcome(await _sign_in(house, user, Authenticator(raw_id=key.raw_id))) == (403, "AuthFailed")


async def test_a_copied_key_is_noticed_by_its_counter(house: House) -> None:
    user = await house.make_user()
    key = Authenticator(counter=7)
    await _register(house, user, key)
    copy = Authenticator(raw_id=key.raw_id, key=key.key, counter=7)
    assert (await _sign_in(house, user, key)).status == 200
    assert _outcome(await _sign_in(house, user, copy)) == (403, "AuthFailed")
    assert (await _sign_in(house, user, key)).status == 200


async def test_a_key_without_a_counter_signs_in_again_and_again(house: House) -> None:
    user = await house.make_user()
    key = Authenticator(counter=None)
    await _register(house, user, key)
    for _ in range(2):
        assert (await _sign_in(house, user, key)).status == 200


async def test_another_relying_party_has_to_be_asked_for(house: House) -> None:
    user = await house.make_user()
    key = Authenticator(rp_id="example.com")
    assert (await _register(house, user, key, rpId="example.com")).status == 200
    challenge = await _challenge(house, user, rpId="example.com")
    answer = {**key.sign(challenge), "rpId": "other.example"}
    assert _outcome(await _post(house, user, "authentication-assertion", answer)) == (403, "AuthFailed")
    challenge = await _challenge(house, user, rpId="example.com")
    answer = {**key.sign(challenge), "rpId": "example.com"}
    assert (await _post(house, user, "authentication-assertion", answer)).status == 200


async def test_a_key_is_registered_once(house: House) -> None:
    user = await house.make_user()
    key = Authenticator()
    assert (await _register(house, user, key)).status == 200
    assert (await _register(house, user, key)).status == 400


async def test_a_role_without_tokens_gets_none(house: House) -> None:
    user = await house.make_user()
    key = Authenticator()
    await _register(house, user, key)
    role = await house.services.tokens.issue("auth")
    answer = {**key.sign(await _challenge(house, user)), "token": True}
    reply = await _post(house, user, "authentication-assertion", answer, role)
    assert reply.status == 200
    assert "token" not in reply.json


async def test_what_was_done_with_keys_is_in_the_authlog(house: House) -> None:
    user = await house.make_user()
    key = Authenticator()
    made = (await _register(house, user, key)).json["response"]["id"]
    await _sign_in(house, user, key, ip="192.0.2.9", sess="abc")
    await _sign_in(house, user, Authenticator(raw_id=key.raw_id))
    await house.call("DELETE", f"/users/{user}/2fa/webauthn/credentials/{made}")
    log = (await house.call("GET", f"/users/{user}/authlog")).json["results"]
    found = {(each["action"], each["result"], each["credential"]) for each in log}
    assert found >= {
        ("register webauthn", "success", "a key"),
        ("check 2fa webauthn", "success", "a key"),
        ("check 2fa webauthn", "fail", "a key"),
        ("remove webauthn", "success", "a key"),
    }
    [used] = [each for each in log if each["action"] == "check 2fa webauthn" and each["result"] == "success"]
    assert (used["ip"], used["sess"]) == ("192.0.2.9", "abc")


_HOSTILE = (b"\x00", b"{}", b"[]", b"\xff" * 200, b"\xa1\x63fmt\x64none", b"\x9f" * 1000, b"null", b"\x81" * 5000)


@pytest.mark.parametrize("name", ["clientDataJSON", "attestationObject"])
async def test_octets_of_any_kind_are_refused(house: House, name: str) -> None:
    user = await house.make_user()
    key = Authenticator()
    for octets in _HOSTILE:
        asked = await _post(house, user, "registration-challenge", {**ASK, "description": "x"})
        answer = key.register(asked.json["registrationOptions"]["challenge"])
        reply = await _post(house, user, "registration-attestation", {**answer, name: octets.hex()})
        assert _outcome(reply) == (403, "AuthFailed"), octets[:20]
