"""The doors of both services, for what must hold of each."""

import pytest

from tests.integration.doors import OpenDoor, api_of, webhooks_of
from tests.integration.producers.conftest import scene as scene  # noqa: PLC0414 - the webhooks' world


@pytest.fixture(params=["api", "webhooks"])
def open_door(request: pytest.FixtureRequest) -> OpenDoor:
    """Opens the door of each of the services that strangers may reach, with manners of the test's choice."""
    if request.param == "api":
        return api_of(request.getfixturevalue("database_url"), request.getfixturevalue("connection"))
    return webhooks_of(request.getfixturevalue("scene"))
