"""Users beyond their CRUD, ApplicationPasswords, TwoFactorAuth and the authlog, against the contract."""

import time

import pyotp

from tests.contract.driving import Drive
from tests.support.house import House

NOBODY = "0" * 24


async def test_logout(house: House) -> None:
    drive = Drive(house)
    user = await house.make_user()
    operation = "PUT /users/{user}/logout"
    await drive(operation, f"/users/{user}/logout", {"reason": "maintenance", "sess": "s", "ip": "192.0.2.1"})
    await drive(operation, f"/users/{NOBODY}/logout", status=500, code="UserNotFound")
    await drive(operation, "/users/x/logout", status=400, code="InputValidationError")
    await drive(operation, f"/users/{user}/logout", token="x", status=403, code="InvalidToken")
    drive.finish()


async def test_application_passwords(house: House) -> None:
    drive = Drive(house)
    user = await house.make_user()
    path = f"/users/{user}/asps"
    made = await drive(
        "POST /users/{user}/asps", path, {"description": "phone", "scopes": ["*"], "generateMobileconfig": True}
    )
    await drive("POST /users/{user}/asps", path, {"description": "x", "scopes": "imap,smtp", "ttl": 3600})
    await drive("POST /users/{user}/asps", path, {}, status=400, code="InputValidationError")
    await drive("POST /users/{user}/asps", path, {"description": "x", "scopes": ["master"]}, status=400)
    await drive("POST /users/{user}/asps", path, {"description": "x", "password": "short"}, status=400)
    await drive(
        "POST /users/{user}/asps", f"/users/{NOBODY}/asps", {"description": "x"}, status=404, code="UserNotFound"
    )
    await drive("GET /users/{user}/asps", f"{path}?showAll=true")
    await drive("GET /users/{user}/asps", f"/users/{NOBODY}/asps", status=404, code="UserNotFound")
    one = f"{path}/{made.json['id']}"
    await drive("GET /users/{user}/asps/{asp}", one)
    await drive("GET /users/{user}/asps/{asp}", f"{path}/{NOBODY}", status=404, code="AspNotFound")
    await drive("DELETE /users/{user}/asps/{asp}", one)
    await drive("DELETE /users/{user}/asps/{asp}", one, status=404, code="AspNotFound")
    drive.finish({("GET /users/{user}/asps", "results[].description"), ("GET /users/{user}/asps/{asp}", "description")})


async def test_authlog(house: House) -> None:
    drive = Drive(house)
    user = await house.make_user()
    path = f"/users/{user}/authlog"
    await house.call("PUT", f"/users/{user}", {"password": "anotherone", "ip": "192.0.2.1", "sess": "abc"})
    listed = await drive("GET /users/{user}/authlog", f"{path}?action=password%20change")
    [event] = listed.json["results"]
    await drive("GET /users/{user}/authlog/{event}", f"{path}/{event['id']}")
    await drive("GET /users/{user}/authlog", f"/users/{NOBODY}/authlog", status=404, code="UserNotFound")
    await drive("GET /users/{user}/authlog/{event}", f"{path}/{NOBODY}", status=404, code="EventNotFound")
    await drive("GET /users/{user}/authlog", f"{path}?filterip=nonsense", status=400, code="InputValidationError")
    more = ("key", "appId", "asp", "aname", "temporary", "require2fa", "target", "filter", "credential")
    listing, single = "GET /users/{user}/authlog", "GET /users/{user}/authlog/{event}"
    extra = {(listing, f"results[].{name}") for name in more} | {(single, name) for name in (*more, "success")}
    drive.finish(extra)


async def test_removal_reset_and_restore(house: House) -> None:
    drive = Drive(house)
    user = await house.make_user()
    quota, reset = "POST /users/{user}/quota/reset", "POST /users/{user}/password/reset"
    read, restore = "GET /users/{user}/restore", "POST /users/{user}/restore"
    await drive(quota, f"/users/{user}/quota/reset")
    await drive(quota, f"/users/{NOBODY}/quota/reset", status=404, code="UserNotFound")
    await drive("POST /quota/reset", "/quota/reset", {})
    await drive(reset, f"/users/{user}/password/reset")
    await drive(reset, f"/users/{user}/password/reset", {"validAfter": False})
    await drive(reset, f"/users/{user}/password/reset", {"validAfter": "soon"}, status=400)
    await drive(reset, f"/users/{NOBODY}/password/reset", status=500, code="UserUpdateFail")
    await drive(read, f"/users/{user}/restore", status=404, code="AccountNotFound")
    await drive(restore, f"/users/{user}/restore", status=500, code="AccountNotFound")
    await house.call("DELETE", f"/users/{user}")
    await drive(read, f"/users/{user}/restore")
    await drive(restore, f"/users/{user}/restore")
    drive.finish()


async def test_two_factor(house: House) -> None:
    drive = Drive(house)
    user = await house.make_user()
    base, path = "/users/{user}/2fa", f"/users/{user}/2fa"
    nobody = f"/users/{NOBODY}/2fa"
    await drive(f"POST {base}/totp/setup", f"{path}/totp/setup", {}, status=400, code="InputValidationError")
    await drive(f"POST {base}/totp/setup", f"{nobody}/totp/setup", {"issuer": "x"}, status=404, code="UserNotFound")
    seed = (await drive(f"POST {base}/totp/setup", f"{path}/totp/setup", {"issuer": "x"})).json["seed"]
    token = {"token": pyotp.TOTP(seed).now()}
    await drive(f"POST {base}/totp/enable", f"{nobody}/totp/enable", token, status=404, code="UserNotFound")
    await drive(f"POST {base}/totp/enable", f"{path}/totp/enable", token)
    later = {"token": pyotp.TOTP(seed).at(time.time() + 90)}
    await drive(f"POST {base}/totp/check", f"{path}/totp/check", later)
    await drive(f"DELETE {base}/totp", f"{path}/totp")
    await drive(f"DELETE {base}/totp", f"{nobody}/totp", status=404, code="UserNotFound")
    await drive(f"PUT {base}/custom", f"{path}/custom")
    await drive(f"PUT {base}/custom", f"{path}/custom", status=400, code="CustomEnabled")
    await drive(f"PUT {base}/custom", f"{nobody}/custom", status=404, code="UserNotFound")
    await drive(f"DELETE {base}/custom", f"{path}/custom")
    await drive(f"DELETE {base}/custom", f"{path}/custom", status=400, code="CustomDisabled")
    await drive(f"DELETE {base}", path)
    await drive(f"DELETE {base}", nobody)
    drive.finish()
