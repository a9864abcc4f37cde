"""A short slice of the kill campaign of the outbound queue; `make faults` runs the long one (`queue_run`)."""

import json

import pytest

from tests.faults.queue_campaign import Plan, run


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(Plan(seed=21, count=4, accounts=("anna", "bert"), copying=("anna",), work=20), id="one-process"),
        pytest.param(
            Plan(seed=22, count=2, processes=2, accounts=("anna", "bert"), copying=("anna",), work=20, late=False),
            id="two-processes",
        ),
    ],
)
async def test_every_accepted_message_is_delivered_or_bounced(plan: Plan) -> None:
    result = await run(plan)
    print(json.dumps(result.figures()))
    assert result.violation == ""
    assert result.kills >= plan.count
    assert {"delivered", "relayed", "failed"} <= set(result.found.states)
