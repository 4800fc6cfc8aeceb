"""`python -m producers poll` as a process: once with its summary and exit code, as a service killed and stopped."""

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from sandbox.children import ROOT, Child, inherited
from sandbox.horizon_faults import Fault
from tests.acceptance.test_stream import address_of, environment, exit_code
from tests.integration.producers.conftest import scene as scene  # noqa: PLC0414 - the same world
from tests.integration.producers.scene import Scene, until_true

WALLETS = 6
ENDS_WITHIN_S = 90.0
UNANSWERED_S = 600.0  # longer than the test: who asked is killed meanwhile


async def once(scene: Scene, *arguments: str, **changed: str) -> tuple[int, dict[str, Any], str]:
    """One round: exit code, the summary, what was said on standard error."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "producers", "poll", "--once", *arguments),
        env={**inherited(), **environment(scene, **changed)},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await asyncio.wait_for(child.communicate(), ENDS_WITHIN_S)
    assert child.returncode is not None
    return child.returncode, orjson.loads(said) if said else {}, complained.decode()


async def test_one_round_ends_with_a_summary_and_an_exit_code(scene: Scene) -> None:
    """0 when every wallet was read, 1 when some were left or the source stayed away, 2 when a person must decide; the
    summary is the only line on standard output.
    """
    for wallet in range(WALLETS):
        await scene.add_wallet(wallet)
    code, done, _ = await once(scene)
    assert (code, done["whole"], done["told"], done["found"]["baseline"]) == (0, True, WALLETS, WALLETS)
    scene.horizon.faults.add(Fault(path_prefix=f"/accounts/{scene.account(1)}", status=504, times=10_000))
    code, done, _ = await once(scene)
    assert (code, done["whole"], done["left_named"]) == (1, False, [scene.account(1)])
    scene.horizon.faults.clear()
    scene.horizon.faults.add(Fault(path_prefix="/", status=503, times=100_000))
    code, done, complained = await once(scene, "--patience", "1")
    assert (code, done) == (1, {})
    assert "not done" in complained
    scene.horizon.faults.clear()
    code, done, complained = await once(scene, STELLAR_NETWORK="mainnet")
    assert (code, done) == (2, {})
    assert "HORIZON_URL" in complained


def _is_asked(fault: Fault, answered: int) -> bool:
    return fault.asked > answered


async def test_kill_9_loses_nothing_and_a_stop_is_clean(scene: Scene, tmp_path: Path) -> None:
    """Killed between two rounds, before a round's first answer and after its second one, with a payment each time: in
    the end each wallet's newest balance is told, with every payment since what is stored; the page says that it is
    ready; SIGTERM ends it with exit code 0.
    """
    for wallet in range(WALLETS):
        await scene.add_wallet(wallet)
    child = Child("poll", ["producers", "poll"], environment(scene, POLL_INTERVAL_S="1", HTTP_PORT="0"), tmp_path)
    await child.start()
    for wallet in range(WALLETS):
        await scene.store(await scene.until_told(wallet, units=100))
    await until_true(lambda: b'"round ended"' in child.log.read_bytes(), what="a round is over")
    await child.kill()
    for answered in (None, 0, 2):
        fault = Fault(path_prefix="/accounts/", skip=answered or 0, delay_s=UNANSWERED_S, times=10_000)
        if answered is not None:
            scene.horizon.faults.add(fault)
        for wallet in range(WALLETS):
            scene.pay(wallet, 1)
        scene.close()
        if answered is not None:
            await until_true(partial(_is_asked, fault, answered), what="it waits for an answer")
            await child.kill()
            scene.horizon.faults.clear()
        await child.start()
    for wallet in range(WALLETS):
        fact = await scene.until_told(wallet, units=103)
        assert sorted(each.ledger for each in fact.movements or ()) == list(range(fact.ledger - 2, fact.ledger + 1))
    await child.stop()
    child.log.unlink()  # with the addresses that it had before
    await child.start()
    await until_true(lambda: child.log.exists() and address_of(child), what="the page's address is in the log")
    async with aiohttp.ClientSession() as session:

        async def is_ready() -> bool:
            async with session.get(f"{address_of(child)}/readyz") as answer:
                return answer.status == 200

        await until_true(is_ready, what="ready")
        async with session.get(f"{address_of(child)}/metrics") as answer:
            assert "producers_poll_rounds_total" in await answer.text()
    await child.stop()
    assert await exit_code(child) == 0
