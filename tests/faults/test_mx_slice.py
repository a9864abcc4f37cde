"""A short slice of the kill campaign of an MX; `make faults` runs the long one (`mx_run`)."""

import json

import pytest

from tests.faults.mx_campaign import Plan, run


@pytest.mark.timeout(900)
async def test_what_is_acknowledged_is_there_and_goes_on_once() -> None:
    result = await run(Plan(seed=31, count=2, work=40))
    print(json.dumps(result.figures()))
    assert result.violation == ""
    assert result.kills == 2
    assert min(result.stored, result.onward, result.answers) > 0
