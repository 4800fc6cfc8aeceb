"""Where the shared fixtures are; and no example of a property has a time limit, for machines differ."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.fixtures_database", "tests.fixtures_brokers", "tests.fixtures_no_skips"]

settings.register_profile(
    "any machine", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")
