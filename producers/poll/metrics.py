"""What the poller counts: every metric with its name and what it says."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from producers.poll.compare import Found


class PollMetrics:
    """The metrics of the rounds, in the process's registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.found = Counter(
            "producers_poll_found",
            "Facts that a poll told, by what they were: `gap` is one that a stream was past and had not told",
            ["kind"],
            registry=registry,
        )
        for kind in Found:  # at 0 from the start: the first increase of a counter that is not there yet is not seen
            self.found.labels(kind.value)
        self.rounds = Counter("producers_poll_rounds", "Rounds that came to their end", registry=registry)
        self.left = Counter(
            "producers_poll_left",
            "Wallets that a round could not read or tell, and left to the next",
            registry=registry,
        )
        self.impossible = Counter(
            "producers_poll_impossible",
            "States older than what is stored, read in a newer ledger: the network was reset",
            registry=registry,
        )
        self.wallets = Gauge("producers_poll_wallets", "Wallets of the present round, or the last", registry=registry)
        self.done = Gauge("producers_poll_wallets_done", "Those of them that were read", registry=registry)
        self.round_seconds = Gauge(
            "producers_poll_round_seconds", "Seconds that the last round took", registry=registry
        )
        self.ended_at = Gauge(
            "producers_poll_round_ended_timestamp_seconds", "When the last round ended, Unix time", registry=registry
        )
