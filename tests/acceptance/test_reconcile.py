"""`python -m producers backfill` and `reconcile` as processes: what they print, how they end, and that they may die."""

import asyncio
import csv
import signal
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from sandbox.children import Child
from sandbox.horizon_faults import Fault
from schema.stellar import Network
from tests.acceptance.test_stream import environment, exit_code
from tests.integration.producers.conftest import scene as scene  # noqa: PLC0414 - the same world
from tests.integration.producers.recorder import recording
from tests.integration.producers.scene import Scene, until_true
from tests.integration.producers.test_reconcile import follow, stored_units, tamper

WALLETS = 6


async def run(scene: Scene, folder: Path, *arguments: str, **changed: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    name = f"run-{uuid4()}"
    child = Child(name, ["producers", *arguments], environment(scene, **changed), folder)
    await child.start()
    assert child._running is not None
    printed, _ = await asyncio.wait_for(child._running.communicate(), 120)
    return await exit_code(child), printed.decode(), child.log.read_text()


async def test_reconcile_says_what_it_found_and_ends_by_it(scene: Scene, tmp_path: Path) -> None:
    """Equal: exit code 0 and the sentence. Behind: 1, in words, as JSON and as CSV. Repaired: 0 again. What facts
    cannot repair: 2, and what to do. The wrong network: 2, and which variable.
    """
    await follow(scene)
    code, printed, _ = await run(scene, tmp_path, "reconcile")
    assert (code, printed) == (0, f"database equals chain at ledger {scene.chain.latest.sequence}: 6 wallets\n")

    scene.pay(1, 5)
    scene.close()
    report = tmp_path / "differences.csv"
    code, printed, _ = await run(scene, tmp_path, "reconcile", "--json", "--wait", "0", "--report", str(report))
    said = orjson.loads(printed)
    assert (code, said["equal"], said["differences"]) == (1, False, {"behind": 1})
    with report.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["account_id"], row["kind"], row["chain_balance"]) for row in rows] == [
        (scene.account(1), "behind", "105.0000000")
    ]

    async with recording(scene):
        code, printed, log = await run(scene, tmp_path, "reconcile", "--repair", "--wait", "3")
    assert (code, "1 facts published, and recorded" in printed) == (0, True), log

    await tamper(scene, 2, "previous_usdc_balance = 1")
    code, printed, _ = await run(scene, tmp_path, "reconcile", "--repair")
    assert (code, "conflict" in printed, "docs/operations.md" in printed) == (2, True, True)

    scene.chain.network = Network.MAINNET
    code, printed, log = await run(scene, tmp_path, "reconcile")
    assert (code, printed, "STELLAR_NETWORK" in log) == (2, "", True)


async def test_a_report_that_cannot_be_written_loses_no_verdict(scene: Scene, tmp_path: Path) -> None:
    """A place where no file can be is said before anything is read: 2. A disk that is full afterwards: what was found
    stands on standard output all the same, and the exit code is not 0.
    """
    await follow(scene)
    code, printed, log = await run(scene, tmp_path, "reconcile", "--report", str(tmp_path / "nowhere" / "found.csv"))
    assert (code, printed, "reading" in log) == (2, "", False)
    assert "No such file" in log
    code, printed, log = await run(scene, tmp_path, "reconcile", "--report", "/dev/full")
    assert (code, printed.split(" at ")[0], "a bug" in log) == (1, "database equals chain", False)
    assert "/dev/full: No space left" in log


async def test_backfill_says_what_it_did_and_ends_by_it(scene: Scene, tmp_path: Path) -> None:
    """A dry run lists the wallets; then the summary says what was told: 0. Ledgers that are not there: 2, with those
    that are. No Horizon: 1, and how to go on. The brokers away: 1 as well.
    """
    await follow(scene)
    first = scene.chain.latest.sequence + 1
    for wallet in (0, 1):
        scene.pay(wallet, 5)
        scene.close()
    code, printed, _ = await run(scene, tmp_path, "backfill", "--from", str(first), "--dry-run")
    *listed, summary = map(orjson.loads, printed.splitlines())
    assert (code, summary["marked"], summary["told"]) == (0, 2, 0)
    assert {each["account_id"]: each["first_ledger"] for each in listed} == {
        scene.account(0): first,
        scene.account(1): first + 1,
    }
    nowhere = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    code, printed, log = await run(scene, tmp_path, "backfill", "--from", str(first), "--patience", "2", **nowhere)
    assert (code, "brokers" in log, orjson.loads(printed)["done"]) == (1, True, False)
    code, printed, _ = await run(scene, tmp_path, "backfill", "--from", str(first))
    assert (code, orjson.loads(printed)["told"]) == (0, 2)

    code, printed, log = await run(scene, tmp_path, "backfill", "--from", str(first + 100))
    assert (code, printed, f"to {first + 1}" in log) == (2, "", True)

    away = {"HORIZON_URL": "http://127.0.0.1:9"}
    code, printed, log = await run(scene, tmp_path, "backfill", "--from", str(first), "--patience", "0", **away)
    assert (code, orjson.loads(printed)["go_on"]) == (1, f"python -m producers backfill --from {first}")
    assert f"backfill --from {first}" in log


async def test_interrupted_it_says_how_to_go_on_and_killed_it_can(scene: Scene, tmp_path: Path) -> None:
    """SIGINT: exit code 1, and the command for the rest. kill -9 in the middle, and the same command again: every
    wallet is recorded, once.
    """
    await follow(scene)
    first = scene.chain.latest.sequence + 1
    for wallet in range(WALLETS):
        scene.pay(wallet, 5)
        scene.close()

    def slow(*, times: int) -> None:
        fault = Fault(path_prefix=f"/accounts/{scene.account(0)}", delay_s=5, times=times)
        scene.horizon.faults.add(fault)

    async def begin(name: str) -> Child:
        child = Child(name, ["producers", "backfill", "--from", str(first)], environment(scene), tmp_path)
        await child.start()
        await until_true(lambda: b"reading and telling" in child.log.read_bytes(), what="it tells")
        return child

    slow(times=1_000)
    child = await begin("interrupted")
    assert child._running is not None
    child._running.send_signal(signal.SIGINT)
    said, _ = await asyncio.wait_for(child._running.communicate(), 60)
    summary: dict[str, Any] = orjson.loads(said)
    assert (child._running.returncode, summary["done"]) == (1, False)
    assert summary["go_on"] in child.log.read_text()
    assert summary["go_on"].startswith(f"python -m producers backfill --from {first} --to {first + WALLETS - 1}")

    killed = await begin("killed")
    await killed.kill()
    scene.horizon.faults.clear()
    async with recording(scene):
        code, printed, _ = await run(scene, tmp_path, *summary["go_on"].split()[3:])
        assert (code, orjson.loads(printed)["done"]) == (0, True)
        await until_true(lambda: _is_recorded(scene, WALLETS), what="all are recorded")
    assert [await stored_units(scene, wallet) for wallet in range(WALLETS)] == [105] * WALLETS
    twice = "select count(*) - count(distinct (wallet_id, ledger)) from public.balance_snapshots"
    assert await scene.connection.fetchval(twice) == 0


async def _is_recorded(scene: Scene, wallets: int) -> bool:
    query = "select count(*) from public.stellar_wallets where previous_usdc_balance = 105"
    return bool(await scene.connection.fetchval(query) == wallets)
