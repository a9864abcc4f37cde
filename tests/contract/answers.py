"""Collects how answers differ from the contract while a test calls operations, and compares that with the list."""

from tests.contract.models import check_model
from tests.contract.schema import Mismatch, load_deviations, mismatches, response_schema
from tests.support.api import Api, Reply


class Answers:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._operations: set[str] = set()
        self._found: set[tuple[str, Mismatch]] = set()

    async def check(self, operation: str, path: str, json: object = None) -> Reply:
        """Calls it, and notes where the answer, a success, differs."""
        reply = await self._api.call(operation.split(" ", maxsplit=1)[0], path, json)
        assert reply.status == 200, reply.text
        self._operations.add(operation)
        check_model(operation, reply.json)
        for mismatch in mismatches(reply.json, response_schema(operation)):
            self._found.add((operation, mismatch))
        return reply

    def verify(self, extra: set[tuple[str, str]]) -> None:
        """What differs is what the list says of the operations called, no more and no less. `extra`: said beyond it."""
        assert {(operation, one.at) for operation, one in self._found if one.found == "extra"} == extra
        plain = {row for row in self._found if row[1].found != "extra"}
        assert plain == {row for row in load_deviations() if row[0] in self._operations}
