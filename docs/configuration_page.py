"""docs/configuration.md, from the settings classes: a field's docstring is its meaning here."""

import re
from collections.abc import Iterable
from typing import Any, Final, get_args, get_type_hints

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from consumer.api.settings import ApiSettings, Origins
from consumer.settings import ConsumerSettings, PolicySettings
from producers.settings import (
    PollSettings,
    ProducerSettings,
    SharedSecrets,
    SigningSecrets,
    StreamSettings,
    WebhookSettings,
)
from schema.service.settings import (
    AccountText,
    Addresses,
    AddressText,
    Amount,
    Brokers,
    ChainSettings,
    DatabaseSettings,
    Host,
    IpNetworks,
    KafkaSettings,
    NetworkSettings,
    SecretUrl,
    ServiceSettings,
    Settings,
    Topic,
    Url,
)
from schema.stellar import Network, Stroops, format_stroops

BEGINNING: Final = """# Configuration

Everything is read from the environment, once, at the start. A process that misses a variable or does not understand one
names every one at fault and ends with exit code 2. An empty variable counts as unset. What a wallet's own row in
`auto_deposit_policies` says comes before the default policy ([database.md](database.md)). The sandbox's executor has
settings of its own ([executor.md](executor.md)).

| command | reads |
|---|---|
| `python -m consumer` | database, network, service, Kafka, chain, default policy, consumer |
| `python -m consumer api` | database, network, service, chain, default policy, API |
| `python -m consumer release` | database, network |
| `python -m producers stream` | database, network, service, Kafka, chain, producers, stream |
| `python -m producers read`, `backfill`, `reconcile` | database, network, service, Kafka, chain, producers |
| `python -m producers wallets` | database, network |
| `python -m producers poll` | database, network, service, Kafka, chain, producers, poll |
| `python -m producers webhooks` | database, network, service, Kafka, chain, producers, webhooks |
| `python -m schema migrate`, `python -m schema status` | `DATABASE_URL`, or `--database-url` |
| `python -m schema topics` | Kafka |

The least that `python -m producers stream` and `python -m consumer` need, here for the test network:

```sh
DATABASE_URL=postgresql://pipeline:password@localhost:5432/app
KAFKA_BOOTSTRAP_SERVERS=localhost:9092
STELLAR_NETWORK=testnet
ASSET_ISSUER=GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5
HORIZON_URL=https://horizon-testnet.stellar.org
```

Circle's USDC on the public network (`STELLAR_NETWORK=mainnet`) is issued by
`GA5ZSEJYB37JRC5AVCIA5MOP4RHTM335X2KGX3IHOJAPP5RE34K4KZVN`.
"""
SECTIONS: Final[tuple[tuple[str, type[Settings]], ...]] = (
    ("Database", DatabaseSettings),
    ("Network", NetworkSettings),
    ("Service", ServiceSettings),
    ("Kafka", KafkaSettings),
    ("Chain", ChainSettings),
    ("Default policy", PolicySettings),
    ("Consumer", ConsumerSettings),
    ("API", ApiSettings),
    ("Producers", ProducerSettings),
    ("Stream", StreamSettings),
    ("Poll", PollSettings),
    ("Webhooks", WebhookSettings),
)
_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (Amount, "an amount of the asset, like `10` or `0.5`"),
    (Addresses, "addresses with commas between"),
    (AddressText, "an address: `G...` or `C...`"),
    (AccountText, "an account id: `G...`"),
    (SigningSecrets, "`whsec_...`, with commas between"),
    (SharedSecrets, "32 visible characters or more, with commas between"),
    (Origins, "origins with commas between, like `https://app.example.org`"),
    (IpNetworks, "addresses or networks, like `10.0.0.0/8`"),
    (Url, "`http://...` or `https://...`"),
    (SecretUrl, "`http://...` or `https://...`"),
    (Host, "a host's name or address"),
    (Brokers, "`host:port`, with commas between"),
    (Topic, "a topic's name: letters, digits, `.`, `_`, `-`"),
    (Network, "`testnet` or `mainnet`"),
    (bool, "`true` or `false`"),
)
_ALTERNATIVES: Final = re.compile(r"\^\(([\w|-]+)\)\$")


def page() -> str:
    """The page's Markdown."""
    return BEGINNING + "".join(f"\n## {title}\n\n{_table(settings)}" for title, settings in SECTIONS)


def _table(settings: type[Settings]) -> str:
    """The fields that this class adds to those it is made of."""
    hints = get_type_hints(settings, include_extras=True)
    inherited = {name for base in settings.__mro__[1:] for name in getattr(base, "model_fields", ())}
    rows = ["| variable | expected | default | meaning |", "|---|---|---|---|"]
    for name, field in settings.model_fields.items():
        if name in inherited:
            continue
        if not field.description:
            raise AssertionError(f"{settings.__name__}.{name} has no docstring")
        cells = (f"`{name.upper()}`", _expected(hints[name], field), _default(field), field.description)
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _expected(hint: Any, field: FieldInfo) -> str:
    wanted = next((each for each in get_args(hint) if each is not type(None)), hint) if field.default is None else hint
    for kind, words in _KINDS:
        if wanted == kind:
            return words
    limits = {name: value for each in field.metadata for name, value in _limits(each)}
    if "pattern" in limits:
        alternatives = _ALTERNATIVES.fullmatch(limits["pattern"])
        if alternatives is None:
            return f"text that matches `{limits['pattern']}`"
        *some, last = alternatives[1].split("|")
        return f"{', '.join(f'`{each}`' for each in some)} or `{last}`"
    if wanted is str:
        return "text"
    number = {int: "a whole number", float: "a number"}[wanted]
    if "le" not in limits:
        return f"{number}, at least {limits['ge']:,}"
    return f"{number} from {limits['ge']:,} to {limits['le']:,}"


def _limits(constraint: object) -> Iterable[tuple[str, Any]]:
    for name in ("pattern", "ge", "le"):
        value = getattr(constraint, name, None)
        if value is not None:
            yield name, value


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "**required**"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in (None, "", frozenset(), ()):
        return "none"
    if field.annotation is Stroops:
        return f"`{format_stroops(value).rstrip('0').rstrip('.')}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
