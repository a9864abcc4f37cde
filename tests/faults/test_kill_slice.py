"""A short slice of the kill campaign; `make faults` runs the long one (`tests.faults.run`)."""

import json

import pytest

from tests.faults.campaign import Plan, run


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(seed=11, count=6, mongod_count=1, accounts=("anna", "bert"), work=30), id="one-process"),
        pytest.param(Plan(seed=12, count=3, processes=2, accounts=("anna", "bert"), work=30), id="two-processes"),
    ],
)
async def test_nothing_acknowledged_is_lost_or_doubled(plan: Plan) -> None:
    result = await run(plan)
    print(json.dumps(result.figures()))
    assert result.violation == ""
    assert result.kills >= plan.count
    assert result.outcomes["delivery ok"] > 20
