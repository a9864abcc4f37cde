"""Several sessions give random commands; what they are answered and told is held against a mailbox in memory.

`DUCKMAIL_STEPS` sets how many commands are given, `DUCKMAIL_SEED` the first seed; the default is a slice. 20,000 steps
take longer than a test may (`-o timeout=0`).
"""

import os
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.support.imap import ImapHouse, open_imap
from tests.support.imap_play import Play

STEPS = int(os.environ.get("DUCKMAIL_STEPS", "150"))
SEED = int(os.environ.get("DUCKMAIL_SEED", "1"))


@pytest.fixture
async def house(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[ImapHouse]:
    async with open_imap(mongo_uri, database_name, redis_url, per_user=50) as opened:
        yield opened


@pytest.fixture
async def second(house: ImapHouse, mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[ImapHouse]:
    async with open_imap(mongo_uri, database_name, redis_url, per_user=50, new=False) as opened:
        yield opened


SEEDS = [pytest.param(SEED + number, id=f"seed-{SEED + number}") for number in range(2)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_sessions_agree_with_the_model(house: ImapHouse, seed: int) -> None:
    await agree([house], seed)


@pytest.mark.parametrize("seed", SEEDS[:1])
async def test_sessions_of_two_processes_agree_with_the_model(house: ImapHouse, second: ImapHouse, seed: int) -> None:
    await agree([house, second], seed)


async def agree(houses: Sequence[ImapHouse], seed: int) -> None:
    play = Play(houses, random.Random(seed))
    await play.open()
    for number in range(STEPS):
        try:
            await play.step()
        except Exception as error:
            error.add_note(f"seed {seed}, step {number}, {play.last}")
            raise
    await play.close()
