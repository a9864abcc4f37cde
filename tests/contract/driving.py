"""Drives operations and gathers where their answers do not follow the contract."""

from tests.contract.models import check_model
from tests.contract.schema import Mismatch, load_deviations, mismatches, response_schema
from tests.support.api import TOKEN, Reply
from tests.support.house import House


class Drive:
    def __init__(self, house: House) -> None:
        self._house = house
        self._operations: set[str] = set()
        self._found: set[tuple[str, Mismatch]] = set()

    async def __call__(
        self, operation: str, path: str, json: object = None, *, status: int = 200, code: str = "", token: str = TOKEN
    ) -> Reply:
        """A call whose status, and `code` of the error, are as expected."""
        reply = await self._house.call(operation.partition(" ")[0], path, json, token)
        assert reply.status == status, reply.text
        if status == 200:
            self._operations.add(operation)
            check_model(operation, reply.json)
            self._found |= {(operation, one) for one in mismatches(reply.json, response_schema(operation))}
        assert reply.json.get("code", "") == code or not code, reply.text
        return reply

    def finish(self, extra: set[tuple[str, str]] | None = None) -> None:
        """All differences are rows of the list, and all rows are needed. `extra`: (operation, place) that says more."""
        said = {(operation, one.at) for operation, one in self._found if one.found == "extra"}
        assert said == (extra or set())
        expected = {row for row in load_deviations() if row[0] in self._operations}
        found = {row for row in self._found if row[1].found != "extra"}
        assert not (found ^ expected), (found - expected, expected - found)
