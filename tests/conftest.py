"""Where the shared fixtures are."""

pytest_plugins = ["tests.fixtures_database", "tests.fixtures_brokers", "tests.fixtures_no_skips"]
