"""Hints over HTTP: `python -m producers webhooks`."""
