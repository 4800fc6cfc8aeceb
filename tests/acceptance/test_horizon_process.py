"""The simulated chain and its Horizon as a process of their own."""

from pathlib import Path
from typing import Any

import aiohttp
import orjson

from sandbox.children import Child
from tests.waiting import until


async def _get(url: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return orjson.loads(await answer.read())


async def test_it_says_where_it_is_runs_its_traffic_and_ends(tmp_path: Path) -> None:
    """Its first line has the URL; ledgers close and payments come; the sums are exact; SIGTERM ends it quietly."""
    arguments = ["sandbox.horizon", "--seed", "3", "--wallets", "5", "--ledger-s", "0.1", "--payments-per-s", "200"]
    child = Child("horizon", arguments, {}, tmp_path)
    await child.start()
    try:
        told = await child.first_line()
        url = told["url"]

        async def paid() -> bool:
            page = await _get(f"{url}/payments?limit=200")
            return len(page["_embedded"]["records"]) == 200

        await until(paid, "200 payments")
        assert (await _get(f"{url}/"))["history_latest_ledger"] > told["ledger"]
        assert (await _get(f"{url}/sandbox/sums"))["exact"] is True
        world = await _get(f"{url}/sandbox/world")
        assert world["asset"] == told["asset"]
        assert len(world["wallets"]) == 5
    finally:
        await child.stop()
    assert child.last_words() == ""


async def test_one_seed_is_one_world(tmp_path: Path) -> None:
    """Two processes with one seed have the same people; ledgers close only when told to with --ledger-s 0."""
    worlds = []
    for number in range(2):
        arguments = ["sandbox.horizon", "--seed", "9", "--wallets", "3", "--ledger-s", "0", "--wallet-balance", "12.5"]
        child = Child(f"horizon-{number}", arguments, {}, tmp_path)
        await child.start()
        try:
            told = await child.first_line()
            worlds.append(await _get(f"{told['url']}/sandbox/world"))
            history = await _get(f"{told['url']}/sandbox/accounts/{worlds[-1]['wallets'][0]['account_id']}/history")
            assert history["balance"] == "12.5000000"
            assert history["ledger"] == told["ledger"]
        finally:
            await child.stop()
    assert worlds[0] == worlds[1]
