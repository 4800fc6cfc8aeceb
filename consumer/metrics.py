"""Every metric of the consumer, by name and meaning."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from consumer.batch import Writes
from consumer.outcome import Verdict
from consumer.wallet import CommandStatus

REGISTRY: Final = CollectorRegistry()

INPUTS: Final = Counter(
    "consumer_inputs",
    "What became of each input: recorded, duplicate, ...",
    ["verdict"],
    registry=REGISTRY,
)
DEAD_LETTERS: Final = Counter(
    "consumer_dead_letters", "Records refused and kept. Any increase wants a person.", ["reason"], registry=REGISTRY
)
COMMANDS: Final = Counter("consumer_deposit_commands", "Deposit commands decided.", registry=REGISTRY)
SNAPSHOTS: Final = Counter("consumer_snapshots", "Snapshots written.", registry=REGISTRY)
BATCH_SECONDS: Final = Histogram("consumer_batch_seconds", "One batch: lock, decide, write, commit.", registry=REGISTRY)
BATCH_RECORDS: Final = Histogram(
    "consumer_batch_records", "Records in a batch.", buckets=(1, 10, 100, 500, 1000, 2000, 5000), registry=REGISTRY
)
SENT: Final = Counter("consumer_outbox_sent", "Rows published and acked.", ["what"], registry=REGISTRY)
SEND_FAILURES: Final = Counter("consumer_outbox_failures", "Rounds of the relay without an ack.", registry=REGISTRY)
READS_REQUESTED: Final = Counter(
    "consumer_reads_requested",
    "Wallets with an expired command, to be read.",
    registry=REGISTRY,
)
ENDED: Final = Counter(
    "consumer_commands_ended", "Commands that ended: succeeded, failed, expired.", ["status"], registry=REGISTRY
)
HELD: Final = Gauge("consumer_wallets_held", "Wallets on hold after a conflict. Any wants a person.", registry=REGISTRY)
LAG: Final = Gauge("consumer_lag_records", "Records not yet taken in, of the partitions held.", registry=REGISTRY)

# At 0 from the start: a counter that is first seen with its first increase has, to Prometheus, not increased.
for _verdict in (*Verdict, "malformed", "refused_by_database", "untracked", "not_ours"):
    INPUTS.labels(_verdict)
for _reason in ("malformed", *(each for each in Verdict if each.is_refusal), "refused_by_database"):
    DEAD_LETTERS.labels(_reason)
for _status in (CommandStatus.SUCCEEDED, CommandStatus.FAILED, CommandStatus.EXPIRED):
    ENDED.labels(_status)


def count(writes: Writes) -> None:
    """What one committed transaction did."""
    for verdict, number in writes.counts.items():
        INPUTS.labels(verdict).inc(number)
    for letter in writes.dead_letters:
        DEAD_LETTERS.labels(letter.reason).inc()
    for ending in writes.endings.values():
        ENDED.labels(ending.command.status).inc()
    SNAPSHOTS.inc(len(writes.snapshots))
    COMMANDS.inc(len(writes.commands))
