"""docs/metrics.md, from the typed lists of the two processes."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from prometheus_client.metrics import MetricWrapperBase

from consumer import metrics as of_consumer
from consumer.api import metrics as of_api
from consumer.api.app import PATH
from consumer.api.tokens import REFUSALS
from consumer.outcome import Verdict
from producers.metrics import Metrics
from producers.poll.compare import Found
from producers.poll.metrics import PollMetrics
from producers.webhook.answers import Outcome
from producers.webhook.metrics import WebhookMetrics
from schema.balance_event import SnapshotType
from schema.service.http_connection import CUTS

BEGINNING: Final = """# Metrics

Each process serves `/metrics` (Prometheus) beside `/healthz` and `/readyz` on `HTTP_HOST`:`HTTP_PORT`. What to watch,
and what to do about it, is in [operations.md](operations.md). A histogram has the usual `_bucket`, `_sum` and `_count`.
"""
INPUTS: Final = tuple(each for each in Verdict if each not in (Verdict.DUE, Verdict.NOT_DUE))  # waits are no records
LABELS: Final[Mapping[str, Iterable[str]]] = {
    "status": ("succeeded", "failed", "expired"),
    "verdict": (*INPUTS, "malformed", "refused_by_database", "untracked", "not_ours"),
    "reason": ("malformed", *(each for each in Verdict if each.is_refusal), "refused_by_database"),
    "what": ("commands", "dead_letters"),
    "snapshot_type": SnapshotType,
    "outcome": Outcome,
    "kind": Found,
    "cut": CUTS,
    "mark": ("seen", "read", "published"),
    "route": (PATH, f"{PATH}/requests/{{request_id}}", "none"),
    "code": ("the HTTP status",),
    "why": REFUSALS,
}


def page() -> str:
    """The page's Markdown."""
    return (
        f"{BEGINNING}\n## `python -m consumer`\n\n{_table(vars(of_consumer))}"
        f"\n## `python -m consumer api`\n\n{_table(vars(of_api))}"
        f"\n## `python -m producers stream`\n\n{_table(vars(Metrics()))}"
        f"\n## `python -m producers poll`, besides\n\n{_table(vars(PollMetrics()))}"
        f"\n## `python -m producers webhooks`, besides\n\n{_table(vars(WebhookMetrics()))}"
    )


def names() -> set[str]:
    """Every metric, as Prometheus calls it."""
    lists = (vars(of_consumer), vars(of_api), vars(Metrics()), vars(PollMetrics()), vars(WebhookMetrics()))
    return {_name(each) for members in lists for each in _metrics(members)}


def _table(members: Mapping[str, Any]) -> str:
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in _metrics(members):
        [described] = metric.describe()
        labels = "; ".join(
            f"`{label}`: {', '.join(f'`{value}`' for value in LABELS[label])}"
            for label in metric._labelnames  # noqa: SLF001 - prometheus_client tells them nowhere else
        )
        rows.append(f"| `{_name(metric)}` | {described.type} | {labels} | {described.documentation} |")
    return "\n".join(rows) + "\n"


def _metrics(members: Mapping[str, Any]) -> list[MetricWrapperBase]:
    return [each for each in members.values() if isinstance(each, MetricWrapperBase)]


def _name(metric: MetricWrapperBase) -> str:
    [described] = metric.describe()
    return f"{described.name}_total" if described.type == "counter" else described.name
