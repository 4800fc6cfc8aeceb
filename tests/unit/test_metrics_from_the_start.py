"""Counters that alarms rest on are there before anything happens: Prometheus sees no increase in one that appears."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"
PROGRAM = """
from prometheus_client import CollectorRegistry, generate_latest
from consumer import metrics as of_consumer
from consumer.api import app, metrics as of_api
from producers.metrics import Metrics
from producers.poll.metrics import PollMetrics
from producers.webhook.metrics import WebhookMetrics
registry = CollectorRegistry()
for kind in (Metrics, PollMetrics, WebhookMetrics):
    kind(registry)
for each in (of_consumer.REGISTRY, of_api.REGISTRY, registry):
    print(generate_latest(each).decode())
"""


@cache
def exported_at_the_start() -> list[str]:
    """The lines of all processes' pages, by a process of its own: in ours other tests have counted."""
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()


def test_what_an_alarm_counts_is_at_zero_from_the_start() -> None:
    """Every series that the page for whoever is on call names is exported by a process that has just begun."""
    watched = OPERATIONS.read_text(encoding="utf-8").partition("## What to watch")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in watched.splitlines() if line.startswith("| `")]
    named = [found for cell in first_cells for found in re.findall(r'`(\w+)(?:\{(\w+="\w+")\})?`', cell)]
    assert len(named) > 30
    exported = exported_at_the_start()
    missing = [
        f"{name} {label}"
        for name, label in named
        if not any(re.match(rf"{name}(_count)?[ {{]", line) and label in line for line in exported)
    ]
    assert not missing


def test_every_reason_of_a_dead_letter_is_at_zero_from_the_start() -> None:
    """The alarm is on any of them, also on the first of its kind."""
    exported = exported_at_the_start()
    reasons = ("malformed", "conflict", "unknown_command", "contradiction", "excess", "refused_by_database")
    for reason in reasons:
        assert f'consumer_dead_letters_total{{reason="{reason}"}} 0.0' in exported
