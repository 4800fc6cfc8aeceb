"""Clients of the broker that the test runs on."""

from collections.abc import AsyncIterator

import pytest

from tests.contracts.clients import Clients
from tests.fixtures_brokers import Broker


@pytest.fixture
async def clients(broker: Broker) -> AsyncIterator[Clients]:
    """Clients of the shared broker, closed after the test."""
    made = Clients(broker.settings)
    yield made
    await made.close()
