"""Whatever is sent: no 5xx, nothing forged is read or told, and the process goes on as before."""

import asyncio
import os
import re
import time
from pathlib import Path

import aiohttp

from tests.acceptance.test_stream import address_of
from tests.acceptance.test_webhooks import House, house
from tests.integration.producers.conftest import scene as scene  # noqa: PLC0414 - the same world
from tests.integration.producers.scene import UNIT, Scene
from tests.integration.producers.webhook_scene import told
from tests.webhook_fuzz import Fuzzing
from tests.webhook_senders import naming

REQUESTS = int(os.environ.get("WEBHOOK_FUZZ", "3000"))
SEED = int(os.environ.get("WEBHOOK_FUZZ_SEED", "1"))
AT_ONCE = 64
PORTION = 20_000  # between them a good sender is heard


async def test_fuzzed_requests_give_no_5xx_and_no_forged_fact(scene: Scene, tmp_path: Path) -> None:
    """Broken HTTP, wrong lengths, requests inside requests, endless headers and nests, almost right signatures: every
    answer is below 500, nothing that is not proved is done, no state is read; and then a good sender is served.
    """
    await told(scene, 0)
    await told(scene, 1)
    for wallet in (0, 1):
        scene.pay(wallet, 50)
    scene.close()
    limits = {"WEBHOOK_REQUESTS_PER_ADDRESS_PER_S": "1000000", "WEBHOOK_REQUESTS_PER_S": "1000000"}
    async with house(scene, tmp_path, **limits) as running:
        fuzzing = Fuzzing(host="127.0.0.1", port=running.port, seed=SEED, tracked=scene.account(0))
        began_s = time.monotonic()
        for first in range(0, REQUESTS, PORTION):
            await fuzzing.run(first, min(first + PORTION, REQUESTS), at_once=AT_ONCE)
            assert not fuzzing.wrong, fuzzing.wrong[:20]
            print(f"{min(first + PORTION, REQUESTS)} requests in {time.monotonic() - began_s:.0f} s")  # noqa: T201
        print(dict(sorted(fuzzing.statuses.items())))  # noqa: T201
        counts = await metrics(running)
        assert counts.get("producers_reads_total", 0) == 0
        bugs = [line for line in running.child.log.read_text().splitlines() if '"a bug' in line]
        assert not bugs, bugs[:3]
        assert not [name for name in counts if re.search(r'_total{outcome="(bug|away)"', name) and counts[name]]
        assert await scene.facts_of(0) == []
        sender = running.sender()
        assert (await sender.hint(naming(scene.account(1)))).json["published"] == 1
    facts = await scene.until(bool, what="the good sender's fact")
    assert [(fact.account_id, fact.balance_stroops) for fact in facts] == [(scene.account(1), 150 * UNIT)]
    assert "Traceback" not in running.child.log.read_text()


async def metrics(running: House) -> dict[str, float]:
    """What the process counts."""
    url = f"{address_of(running.child)}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        text = await response.text()
    await asyncio.sleep(0)
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines}
