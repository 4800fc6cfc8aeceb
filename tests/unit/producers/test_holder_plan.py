"""Who is read alone and who on a page of holders, decided before anything is asked."""

from hypothesis import given
from hypothesis import strategies as st

from producers.horizon_holders import place, plan
from producers.source import PAGE_RECORDS_MAX
from schema.stellar import AccountId
from tests.people import account_id

CROWD = sorted(account_id(f"holder {number}") for number in range(2_000))


@given(st.lists(st.sampled_from(CROWD), unique=True), st.integers(1, 10_000_000))
def test_everyone_is_read_once(chosen: list[AccountId], holders: int) -> None:
    """Whatever the numbers, each account is read alone or on exactly one walk, and walks are in order."""
    wanted = sorted(chosen)
    alone, walks = plan(wanted, holders=holders)
    assert sorted([*alone, *(each for walk in walks for each in walk)]) == wanted
    assert all(walk == sorted(walk) and walk for walk in walks)


def test_few_among_many_are_read_alone() -> None:
    """A hundred wallets among a million holders share next to no page of 200."""
    alone, walks = plan(CROWD[::20], holders=1_000_000)
    assert len(alone) + len(walks) >= 95
    assert len(walks) <= 5


def test_many_among_few_are_read_by_pages() -> None:
    """Where every second holder is wanted all of them are on walks, some of which can go side by side."""
    alone, walks = plan(CROWD[::2], holders=len(CROWD))
    assert alone == []
    assert 2 <= len(walks) <= 1 + len(CROWD) // PAGE_RECORDS_MAX


def test_places_are_in_the_order_of_the_addresses() -> None:
    """A place grows with the address as text, and addresses are spread evenly over the places."""
    places = [place(each) for each in CROWD]
    assert places == sorted(places)
    assert all(abs(found - number / len(CROWD)) < 0.05 for number, found in enumerate(places))
