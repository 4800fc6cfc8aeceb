"""What is too long or too deep to be handled like other values."""

import pytest

from schema import stellar
from schema.stellar import Malformed


def test_what_is_too_long_for_an_address_is_not_remembered() -> None:
    """Addresses that were checked are, by the thousand; megabytes of anything else would fill the memory."""
    remembered = stellar._strkey_is_valid.cache_info().currsize
    for text in ("G" + "A" * 60_000, "G" * 59, "C" * 59):
        for parse in (stellar.parse_account_id, stellar.parse_address):
            with pytest.raises(Malformed):
                parse(text)
    assert stellar._strkey_is_valid.cache_info().currsize == remembered


def test_a_complaint_of_what_is_nested_too_deeply_to_be_shown() -> None:
    """JSON may be nested more deeply than Python shows it: it is complained about like anything else."""
    nested: object = []
    for _ in range(1_023):
        nested = [nested]
    assert str(Malformed(nested, expected="text")) == "value is a list nested too deeply to show, expected text"
