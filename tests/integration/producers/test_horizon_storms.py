"""Troubles of every kind, drawn at random one over the other amid traffic: all is told, nothing false.

HORIZON_STORMS says how many seeds, HORIZON_STORM_SEED which is the first, HORIZON_STORM_LEDGERS how long each lasts.
"""

import os
import random
import sys
import time
from typing import Any

import aiohttp
import pytest

from producers import asking
from producers.parts import Pace
from tests.integration.producers.scene import Scene, until_true
from tests.integration.producers.truth import Truth

STORMS = int(os.environ.get("HORIZON_STORMS", "2"))
SEED = int(os.environ.get("HORIZON_STORM_SEED", "1"))
LEDGERS = int(os.environ.get("HORIZON_STORM_LEDGERS", "25"))
WALLETS = 6
PATHS = ("/", "/payments", "/effects", "/accounts", "/ledgers")
TROUBLES: tuple[dict[str, Any], ...] = (
    {"status": 500},
    {"status": 503, "headers": {"Retry-After": "2"}},
    {"status": 504},
    {"status": 404, "body": "not here"},
    {"status": 429, "headers": {"Retry-After": "1"}},
    {"status": 429, "headers": {"Retry-After": "0"}},
    {"status": 302, "headers": {"Location": "/payments"}},
    {"status": 200, "body": "<html>"},
    {"status": 200, "body": ""},
    {"delay_s": 0.3},
    {"delay_s": 30},
    {"byte_s": 0.05},
    {"cut_after_bytes": 0},
    {"cut_after_bytes": 77},
    {"cut_after_bytes": 777, "chunked": True},
    {"lag_ledgers": 1},
    {"lag_ledgers": 4},
    {"lag_ledgers": 200},
    {"records": "doubled"},
    {"records": "twice"},
    {"records": "backwards"},
    {"records": "last first"},
    {"stream": "mute"},
    {"stream": "close"},
    {"stream": "greet"},
    {"stream_error": "Unexpected stream error"},
)


@pytest.mark.parametrize("seed", range(SEED, SEED + STORMS))
async def test_any_weather(scene: Scene, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Whatever troubles meet whichever requests, through every kind of payment, the facts are the chain's, every
    payment is in one, nothing is refused, and when the weather clears the page does too.
    """
    monkeypatch.setattr(asking, "REQUEST_TIMEOUT", aiohttp.ClientTimeout(total=1, sock_connect=1))
    monkeypatch.setattr(asking, "IDLE_S_MAX", 0.8)
    rng = random.Random(f"storm {seed}")  # noqa: S311 - a seeded test
    truth = Truth(scene=scene, wallets=WALLETS)
    for wallet in range(WALLETS):
        await scene.add_wallet(wallet)
    url, troubles = f"{scene.horizon.url}/sandbox/faults", 0
    async with aiohttp.ClientSession() as control, scene.stream(pace=Pace(idle_drain_s=0.5)) as running:
        await scene.until(truth.all_told, what="the baselines")
        scene.horizon.traffic.payments_per_s = 8.0
        for _ in range(LEDGERS):
            faults = [_draw(rng) for _ in range(rng.randint(0, 3))]
            troubles += len(faults)
            if rng.random() < 0.2:
                await control.delete(url)
            await control.post(url, json=faults)
            for action in scene.horizon.traffic.owed(1.0):
                scene.chain.enqueue(*action.operations, source=action.source)
            truth.close()
            ends_at = time.monotonic() + rng.choice((0.0, 0.05, 0.3))
            await until_true(lambda ends_at=ends_at: time.monotonic() >= ends_at, what="the next ledger")  # type: ignore[misc]
            if rng.random() < 0.3:
                await _store(scene)
        await control.delete(url)
        began = time.monotonic()
        await scene.until(truth.all_told, what=f"seed {seed}: all is told")
        await until_true(lambda: not running.parts.readiness.reasons(), what=f"seed {seed}: ready")
        sys.stdout.write(f"seed {seed}: {troubles} troubles, healed within {time.monotonic() - began:.2f} s\n")
    truth.judge(await scene.read(), after=f"seed {seed}")
    assert not await scene.connection.fetchval("select count(*) from public.dead_letters")


def _draw(rng: random.Random) -> dict[str, Any]:
    """A trouble for some requests; half of them strike each second or third one only."""
    return {
        **rng.choice(TROUBLES),
        "path_prefix": rng.choice(PATHS),
        "only": rng.choice(("", "", "page", "stream")),
        "times": rng.randint(1, 12),
        "skip": rng.choice((0, 0, 1, 2)),
        "every": rng.choice((1, 1, 2, 3)),
    }


async def _store(scene: Scene) -> None:
    """What was told so far is recorded, as a consumer does at some time."""
    for fact in list(scene.facts):
        await scene.store(fact)
