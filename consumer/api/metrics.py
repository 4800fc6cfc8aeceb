"""Every metric of `python -m consumer api`, by name and meaning."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from consumer.api.tokens import REFUSALS
from schema.service.http_connection import CUTS

REGISTRY: Final = CollectorRegistry()

REQUESTS: Final = Counter("consumer_api_requests", "Requests answered.", ["route", "code"], registry=REGISTRY)
SECONDS: Final = Histogram(
    "consumer_api_seconds",
    "From a request's header to its answer; a wait that was asked for is in it.",
    registry=REGISTRY,
)
REFUSED_TOKENS: Final = Counter(
    "consumer_api_refused_tokens", "Requests whose token is no person's.", ["why"], registry=REGISTRY
)
READS: Final = Counter(
    "consumer_api_reads_asked", "Reads of wallets that were asked of the producers.", registry=REGISTRY
)
WAITING: Final = Gauge("consumer_api_waiting", "Requests that wait for their answer now.", registry=REGISTRY)
CONNECTIONS: Final = Gauge("consumer_api_connections", "Connections that are open now.", registry=REGISTRY)
CUT: Final = Counter("consumer_api_connections_cut", "Connections we ended.", ["cut"], registry=REGISTRY)
KEYS: Final = Gauge("consumer_api_keys", "Public keys that tokens are checked with.", registry=REGISTRY)
KEYS_UNREAD: Final = Counter("consumer_api_keys_unread", "Times that the keys could not be read.", registry=REGISTRY)

# At 0 from the start: a counter that is first seen with its first increase has, to Prometheus, not increased.
for _why in REFUSALS:
    REFUSED_TOKENS.labels(_why)
for _cut in CUTS:
    CUT.labels(_cut)
