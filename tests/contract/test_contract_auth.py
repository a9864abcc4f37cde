"""Users beyond their CRUD, ApplicationPasswords, TwoFactorAuth and the authlog, against the contract."""

from collections.abc import AsyncIterator

import pytest

from tests.contract.driving import Drive
from tests.support.house import House, open_house

NOBODY = "0" * 24


@pytest.fixture
async def house(mongo_uri: str, database_name: str) -> AsyncIterator[House]:
    async with open_house(mongo_uri, database_name) as opened:
        yield opened


async def test_logout(house: House) -> None:
    drive = Drive(house)
    user = await house.make_user()
    operation = "PUT /users/{user}/logout"
    await drive(operation, f"/users/{user}/logout", {"reason": "maintenance", "sess": "s", "ip": "192.0.2.1"})
    await drive(operation, f"/users/{NOBODY}/logout", status=500, code="UserNotFound")
    await drive(operation, "/users/x/logout", status=400, code="InputValidationError")
    await drive(operation, f"/users/{user}/logout", token="x", status=403, code="InvalidToken")
    drive.finish()
