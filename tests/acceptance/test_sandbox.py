"""The whole world as a person starts it: `python -m sandbox`, and what its summary proves."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from sandbox.apache_kafka import ApacheKafka
from sandbox.children import ROOT
from schema import balance_event
from schema.stellar import parse_stroops
from tests import recordings
from tests.waiting import until

RUN_TIMEOUT_S = 540.0
PAYMENTS = int(os.environ.get("SANDBOX_PAYMENTS", "1500"))
KILLS = int(os.environ.get("SANDBOX_KILLS", "6"))


async def run(*arguments: str, folder: Path) -> tuple[int, bytes, bytes]:
    """Run it to its end: exit code, standard output, standard error."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox", "--folder", str(folder), *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await asyncio.wait_for(child.communicate(), RUN_TIMEOUT_S)
    assert child.returncode is not None
    return child.returncode, said, complained


async def summary(*arguments: str, folder: Path) -> dict[str, Any]:
    """The summary of a run that must be exact."""
    code, said, complained = await run("--json", *arguments, folder=folder)
    assert code == 0, (said + complained).decode()
    found: dict[str, Any] = orjson.loads(said)
    assert found["exact"] is True
    assert found["discrepancies"] == []
    return found


async def test_a_first_run_reaches_deposits_and_its_sums_are_exact(tmp_path: Path) -> None:
    """With nothing but Python: payments in, commands out, carried out, every sum exact, the way's parts named."""
    found = await summary("--seconds", "8", folder=tmp_path)
    assert found["commands_by_status"]["succeeded"] > 0
    assert found["dead_letters"] == 0
    assert found["topic_commands"] == found["commands"]
    assert list(found["latency_s"]["p50_parts"]) == ["seen", "read", "published", "decided", "sent"]


@pytest.mark.timeout(RUN_TIMEOUT_S + 30)
async def test_killed_at_random_the_sums_stay_exact(tmp_path: Path) -> None:
    """Kill -9 of the stream, the consumer and the executor amid the payments: nothing lost, nothing twice."""
    seconds = max(30, PAYMENTS // 150)
    arguments = ("--payments", str(PAYMENTS), "--payments-per-s", str(PAYMENTS // seconds + 1), "--wallets", "50")
    found = await summary(*arguments, "--seconds", str(seconds), "--kills", str(KILLS), folder=tmp_path)
    assert found["kills"] == KILLS
    assert found["payments"] >= PAYMENTS
    assert found["commands_by_status"]["succeeded"] > 0


async def test_a_poller_and_a_stream_race_and_every_sum_is_exact(tmp_path: Path) -> None:
    """Both tell the same wallets, the poller every second, each killed now and then, with nine excluded sources: what
    came back from those is still there, what came in is deposited, once, and nobody's sources are unknown.
    """
    race = ("--poll", "--kills", "3", "--excluded-payers", "8", "--wallets", "12", "--payments-per-s", "30")
    found = await summary("--seconds", "6", "--seed", "5", *race, folder=tmp_path)
    assert found["commands_by_status"]["succeeded"] > 0
    assert parse_stroops(found["excluded"]) > 0
    assert found["doubtful"] == "0.0000000"
    assert b'"round ended"' in (tmp_path / "poll.log").read_bytes()


async def test_a_poller_alone_leads_to_the_same_sums(tmp_path: Path) -> None:
    """Without any stream the same holds: whatever lay between two rounds, each payment counts by where it came from."""
    alone = ("--poll", "--no-stream", "--excluded-payers", "8", "--wallets", "12", "--payments-per-s", "30")
    found = await summary("--seconds", "4", "--seed", "6", *alone, folder=tmp_path)
    assert found["commands_by_status"]["succeeded"] > 0
    assert parse_stroops(found["excluded"]) > 0
    assert found["doubtful"] == "0.0000000"
    assert not (tmp_path / "stream.log").exists()


@pytest.mark.kafka
async def test_it_runs_on_a_kafka_and_a_postgresql_of_ones_own(
    apache_kafka: ApacheKafka, empty_database_url: str, tmp_path: Path
) -> None:
    """A real Apache Kafka and a given database take the place of the embedded ones; what is missing is made there."""
    own = ("--kafka", apache_kafka.bootstrap_servers, "--database", empty_database_url)
    found = await summary("--seconds", "8", "--seed", "2", *own, folder=tmp_path)
    assert found["commands_by_status"]["succeeded"] > 0


async def test_standard_output_is_for_the_summary_alone(tmp_path: Path) -> None:
    """While it waits for a broker that is not there it says so, again and again, on standard error."""
    with socket.socket() as taken:  # bound, and nobody listens
        taken.bind(("127.0.0.1", 0))
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sandbox", "--json", "--folder", str(tmp_path)),
            *("--kafka", f"127.0.0.1:{taken.getsockname()[1]}"),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stderr is not None
        complained = b""
        async with asyncio.timeout(60):
            while b"(attempt 3," not in complained:
                line = await child.stderr.readline()
                assert line, f"it ended: {complained.decode()}"
                complained += line
        child.terminate()
        assert await child.stdout.read() == b""
        await child.wait()


@recordings.needed
async def test_recorded_payments_end_in_facts_snapshots_and_commands(tmp_path: Path) -> None:
    """The network's own records: 39 USDC end in a command of 39; one that cannot be read is kept."""
    arguments = ("--replay", str(recordings.FOLDER), "--network", "mainnet", "--wallets", "0", "--payments-per-s", "0")
    found = await summary(*arguments, "--seconds", "6", "--failure-rate", "0", folder=tmp_path)
    assert found["received"] == "39.0100000"
    assert found["deposited"] == "39.0000000"
    assert found["doubtful"] == "0.0100000"
    assert found["dead_letters"] == 1
    assert found["commands_by_status"] == {"succeeded": 1}
    published = [
        orjson.loads(line)
        for line in (tmp_path / "stream.log").read_bytes().splitlines()
        if b'"fact published"' in line
    ]
    balances = {(said["account_id"], said["balance"]) for said in published if said["snapshot_type"] == "webhook"}
    assert ("GAFK7XFZHMLSNV7OJTBO7BAIZA66X6QIBV5RMZZYXK4Q7ZSO52J5C3WQ", "39.0000000") in balances
    assert ("GB5FM5GICRYGBFMEGPMYEFDZQHGUYF75Z7WNB2JL5A3A57HIB4CP3TCL", "0.0100000") in balances
    assert balance_event.SnapshotType.WEBHOOK in {said["snapshot_type"] for said in published}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a killed parent leaves its children behind")
async def test_killed_itself_it_leaves_nothing_behind(tmp_path: Path) -> None:
    """Kill -9 of the sandbox takes its database, broker, chain, executor and our programs along."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox", "--folder", str(tmp_path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    household = psutil.Process(child.pid)

    async def everyone() -> list[psutil.Process]:
        found = household.children(recursive=True)
        log = tmp_path / "consumer.log"
        return found if log.exists() and "partitions assigned" in log.read_text() else []

    family = await until(everyone, "all of it runs")
    assert len(family) >= 6
    child.kill()
    await child.wait()
    await until(lambda: _all_gone(family), "all of it is gone")


async def _all_gone(family: list[psutil.Process]) -> bool:
    return not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--min-deposit", "1e3"), "1e3"),
        (("--horizon", "http://127.0.0.1:1"), "--account"),
        (("--horizon", "http://127.0.0.1:1", "--account", "GAFK7"), "GAFK7"),
        (("--asset", "USDC"), "CODE:ISSUER"),
    ],
)
async def test_an_option_that_cannot_be_is_refused_by_name(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    """Exit code 2, and the message holds the value and what was expected."""
    code, _, complained = await run(*arguments, folder=tmp_path)
    assert code == 2
    assert words in complained.decode()
