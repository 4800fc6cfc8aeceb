"""Stellar RPC as a source."""
