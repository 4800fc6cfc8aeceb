"""The whole world on one machine: for a first run and for tests."""
