"""A small round of torture: every fault once, kills beside them, and an oracle that finds nothing."""

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from sandbox.children import ROOT
from sandbox.torture.registry import all_faults
from tests.fixtures_brokers import need_apache_kafka
from tests.waiting import until

KILLS = int(os.environ.get("TORTURE_KILLS", "30"))
MINUTES = float(os.environ.get("TORTURE_MINUTES", "0.5"))
RUN_TIMEOUT_S = 60 * MINUTES * 4 + 900


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that PostgreSQL, as a user of its own, can enter."""
    folder = Path(tempfile.mkdtemp(prefix="torture-test-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.kafka
@pytest.mark.timeout(RUN_TIMEOUT_S + 30)
async def test_tortured_it_loses_nothing_and_does_nothing_twice(open_folder: Path) -> None:
    """Whatever goes wrong, in the end every sum is exact, and nothing needed a hand."""
    need_apache_kafka()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox.torture", "--json", "--seed", "8"),
        *("--kills", str(KILLS), "--minutes", str(MINUTES), "--folder", str(open_folder)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await asyncio.wait_for(child.communicate(), RUN_TIMEOUT_S)
    assert child.returncode == 0, (said + complained).decode()
    found: dict[str, Any] = orjson.loads(said)
    assert found["exact"] is True
    assert found["discrepancies"] == []
    assert found["kills"] == KILLS
    assert found["commands_by_status"]["succeeded"] > 0
    done = {name for name, tally in found["faults"].items() if tally["done"]}
    assert done | set(found["left_out"]) == set(all_faults())
    assert found["faults"]["commit-lost"]["hits"] > 0


@pytest.mark.kafka
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed parent leaves its children behind")
async def test_killed_itself_the_torture_leaves_nothing_behind(open_folder: Path) -> None:
    """Kill -9 of the torture takes its servers and our programs along."""
    need_apache_kafka()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox.torture", "--only", "link-cut", "--kills", "0", "--folder", str(open_folder)),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    household = psutil.Process(child.pid)

    async def everyone() -> list[psutil.Process]:
        log = open_folder / "consumer-1.log"
        if not log.exists() or "partitions assigned" not in log.read_text():
            return []
        try:
            return household.children(recursive=True)
        except psutil.NoSuchProcess:  # one was killed while they were listed
            return []

    family = await until(everyone, "all of it runs", deadline_s=120)
    assert len(family) >= 8
    child.kill()
    await child.wait()

    async def all_gone() -> bool:
        return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in family)

    await until(all_gone, "all of it is gone")
