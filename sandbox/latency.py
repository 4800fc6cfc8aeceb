"""How long a payment takes from its ledger's close to the acknowledged command, by parts."""

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

import orjson

from sandbox.stage import Stage

PARTS: Final = ("seen", "read", "published", "decided", "sent")
_ENOUGH_FOR_QUANTILES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds, over `commands` commands that a fact caused: the whole way, and each part of it (medians)."""

    commands: int
    p50_s: float
    p95_s: float
    parts_p50_s: dict[str, float]


async def measure(stage: Stage) -> Latency | None:
    """From the ledger's close in Horizon, through the stream's log, to the broker's ack of the command: one clock."""
    closed = {int(ledger): datetime.fromisoformat(at) for ledger, at in (await stage.ask_chain("ledgers")).items()}
    published = _published_facts(stage.options.folder / "stream.log")
    rows = await stage.pool.fetch(
        "select s.event_id, s.ledger, s.created_at, c.published_at from deposit_commands c"
        " join balance_snapshots s on s.event_id::text = c.caused_by where c.published_at is not null"
    )
    ways = []
    for row in rows:
        fact = published.get(str(row["event_id"]))
        if fact is None or row["ledger"] not in closed:
            continue
        marks = [closed[row["ledger"]], *(datetime.fromisoformat(fact[f"{part}_at"]) for part in PARTS[:3])]
        marks += [row["created_at"], row["published_at"]]
        ways.append([(after - before).total_seconds() for before, after in pairwise(marks)])
    if not ways:
        return None
    whole = sorted(sum(way) for way in ways)
    p95 = quantiles(whole, n=20)[-1] if len(whole) >= _ENOUGH_FOR_QUANTILES else whole[-1]
    return Latency(
        commands=len(ways),
        p50_s=median(whole),
        p95_s=p95,
        parts_p50_s={part: median(way[number] for way in ways) for number, part in enumerate(PARTS)},
    )


def _published_facts(log: Path) -> dict[str, dict[str, Any]]:
    """The first publication of each event, from the stream's log."""
    found: dict[str, dict[str, Any]] = {}
    for line in log.read_bytes().splitlines():
        if b'"fact published"' not in line:
            continue
        try:
            said = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # the line a kill cut off
        if said.get("seen_at") and said.get("read_at"):
            found.setdefault(said["event_id"], said)
    return found
