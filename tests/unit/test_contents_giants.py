"""Messages at the limits come back octet for octet, and cost a bounded amount of memory beside themselves."""

import asyncio
import json
import sys

import pytest

from tests.support.giants import GIANTS, MIB


@pytest.mark.parametrize("giant", GIANTS)
async def test_giants(mongo_uri: str, database_name: str, giant: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.giants", mongo_uri, database_name, giant, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    seen = json.loads(output)
    print(json.dumps(seen))
    assert seen["exact"]
    assert seen["storing"] < 40 * MIB
    assert seen["reading"] < 20 * MIB
    assert seen["searching"] < seen["size"] + 30 * MIB
