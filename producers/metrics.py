"""What the stream counts: every metric with its name and what it says."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 30, 60, 300, 3600)


class Metrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.records = self._counter("records", "Records of the network's payments that were read")
        self.movements = self._counter("movements", "Movements of followed wallets in them")
        self.changes = self._counter("changes", "Records of what changed a trustline that were read: Horizon's effects")
        self.changes_touched = self._counter("changes_touched", "Wallets to be read for a change that is no payment")
        self.refused = self._counter("refused", "Records and account states that could not be read: dead letters")
        self.reads = self._counter("reads", "Account states read")
        self.reads_lagging = self._counter("reads_lagging", "States older than the payment that asked for them")
        self.facts = Counter("producers_facts", "Facts published and acked", ["snapshot_type"], registry=self.registry)
        self.duplicates = self._counter("duplicates", "Reads that said nothing new: not published")
        self.claims_unknown = self._counter("claims_unknown", "Facts whose movements could not be told, not baselines")
        self.tracked = self._gauge("wallets_tracked", "Wallets followed")
        self.touched = self._gauge("wallets_touched", "Wallets whose next fact is due")
        self.baselines = self._gauge("baselines_waiting", "Wallets of which no fact was ever told")
        self.missed = self._gauge("missed_waiting", "Wallets to be read because something may not have been seen")
        self.changes_ledger = self._gauge("changes_ledger", "The ledger up to which every change was read")
        self.changes_behind = self._gauge("changes_behind_ledgers", "How far the changes are behind; 0: at their end")
        self.history_ledger = self._gauge("history_ledger", "The ledger up to which every payment was read")
        self.saved_ledger = self._gauge("saved_ledger", "The ledger of the saved cursor")
        self.latency = Histogram(
            "producers_latency_seconds",
            "Seconds from the close of the newest payment's ledger to each mark",
            ["mark"],  # seen, read, published
            buckets=_SECONDS,
            registry=self.registry,
        )
        for mark in ("seen", "read", "published"):
            self.latency.labels(mark)

    def _counter(self, name: str, says: str) -> Counter:
        return Counter(f"producers_{name}", says, registry=self.registry)

    def _gauge(self, name: str, says: str) -> Gauge:
        return Gauge(f"producers_{name}", says, registry=self.registry)
