"""A stream and a consumer that die at awaits by name: a sample by the seed; `make crash-points` is all of them."""

import asyncio
import os
import sys

import orjson
import pytest

from tests.crash_points.points import ROOT

SAMPLE = int(os.environ.get("CRASH_SAMPLE", "60"))
SEED = int(os.environ.get("CRASH_SEED", "1"))
WORLDS = 3
TIMEOUT_S = 540.0


@pytest.mark.alone
@pytest.mark.timeout(TIMEOUT_S + 15)
async def test_killed_at_its_awaits_by_name_every_sum_is_exact() -> None:
    """Each of the sample is reached and dies there; when all is quiet the oracle finds nothing lost, nothing twice."""
    arguments = ("--sample", str(SAMPLE), "--seed", str(SEED), "--worlds", str(WORLDS), "--json")
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash_points", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await asyncio.wait_for(run.communicate(), TIMEOUT_S)
    assert run.returncode == 0, (said + complained).decode()
    found = orjson.loads(said)
    assert found["kills"] == SAMPLE
    assert found["exact"]
    assert found["judged"] >= 1
