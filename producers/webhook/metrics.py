"""What the webhooks count: every metric with its name and what it says."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from producers.webhook.answers import Outcome
from schema.service.http_connection import CUTS

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30)


class WebhookMetrics:
    """The metrics of the public door, in the process's registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.requests = Counter("producers_webhook_requests", "Requests answered", ["outcome"], registry=registry)
        for outcome in Outcome:  # at 0 from the start: the first increase of a counter that is not there is not seen
            self.requests.labels(outcome.value)
        self.seconds = Histogram(
            "producers_webhook_seconds",
            "Seconds from the headers of a webhook that was done to its answer",
            buckets=_SECONDS,
            registry=registry,
        )
        self.hints = Counter(
            "producers_webhook_hints", "Wallets that webhooks named and that are tracked", registry=registry
        )
        self.ignored = Counter(
            "producers_webhook_ignored", "Accounts that webhooks named and nobody tracks: never read", registry=registry
        )
        self.connections = Gauge("producers_webhook_connections", "Connections that are open", registry=registry)
        self.cut = Counter("producers_webhook_connections_cut", "Connections we ended", ["cut"], registry=registry)
        for why in CUTS:
            self.cut.labels(why)
