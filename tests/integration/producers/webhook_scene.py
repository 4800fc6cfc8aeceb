"""The door over a small world, in this process; and what it did there."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from prometheus_client import generate_latest

from producers.parts import Parts
from producers.settings import WebhookSettings
from producers.webhook.service import serve
from schema.service.settings import KafkaSettings
from tests.integration.producers.scene import Scene, until_true
from tests.webhook_senders import OTHER_SECRET, SECRET, SHARED, Sender


@dataclass(kw_only=True)
class Open:
    """A door that is open."""

    port: int
    parts: Parts
    task: asyncio.Task[None]
    senders: list[Sender] = field(default_factory=list)

    def sender(self, **options: Any) -> Sender:
        """Somebody who sends."""
        self.senders.append(Sender(host="127.0.0.1", port=self.port, **options))
        return self.senders[-1]

    def count(self, name: str) -> float:
        """A metric's value, like `producers_webhook_requests_total{outcome="done"}`; 0 where it was never counted."""
        text = generate_latest(self.parts.metrics.registry).decode()
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def outcomes(self, outcome: str) -> float:
        """How many requests ended so."""
        return self.count(f'producers_webhook_requests_total{{outcome="{outcome}"}}')

    def reads(self) -> float:
        """How many account states were read."""
        return self.count("producers_reads_total")


def settings(scene: Scene, values: Mapping[str, Any]) -> WebhookSettings:
    """What the environment would say."""
    return WebhookSettings.model_validate(
        {
            "database_url": scene.database_url,
            "kafka_bootstrap_servers": scene.kafka.kafka_bootstrap_servers,
            "stellar_network": "testnet",
            "asset_issuer": scene.people.asset.issuer,
            "horizon_url": scene.horizon.url,
            "horizon_requests_per_hour": 0,
            "webhook_port": 0,
            "webhook_secrets": f"{SECRET},{OTHER_SECRET}",
            "webhook_shared_secrets": SHARED,
            **values,
        }
    )


@asynccontextmanager
async def door(
    scene: Scene, *, kafka: KafkaSettings | None = None, rpc: bool = False, **values: Any
) -> AsyncIterator[Open]:
    """The door for the length of the block; its failure is the block's."""
    async with scene.parts(kafka=kafka, rpc=rpc) as parts:
        with structlog.testing.capture_logs() as said:
            task = asyncio.create_task(serve(settings(scene, values), parts))
            await until_true(lambda: task.done() or _port(said), what="the door is open")
        if task.done():
            await task
        opened = Open(port=_port(said), parts=parts, task=task)
        try:
            yield opened
        finally:
            for sender in opened.senders:
                sender.close()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _port(said: list[Any]) -> int:
    return next((int(entry["door"].rpartition(":")[2]) for entry in said if "door" in entry), 0)


async def told(scene: Scene, wallet: int) -> None:
    """Give a wallet its row and its stored baseline, as if a stream had told it."""
    await scene.add_wallet(wallet)
    await scene.connection.execute(
        """update public.stellar_wallets set balance_ledger = $2, previous_usdc_balance = 100, balance_authorized = true
           where public_key = $1""",
        scene.account(wallet),
        scene.chain.latest.sequence,
    )
