"""Which wallets are followed, whatever comes and goes while all rows are read."""

from hypothesis import given
from hypothesis import strategies as st

from producers.tracked import Tracked
from schema.stellar import AccountId
from tests.people import account_id

KEYS = [account_id(f"wallet {number}") for number in range(6)]
STEPS = st.lists(st.tuples(st.sampled_from(("see", "forget", "begin", "end")), st.sampled_from(KEYS)), max_size=40)


@given(STEPS)
def test_at_the_end_of_a_reading_whoever_was_not_seen_in_it_is_named(steps: list[tuple[str, AccountId]]) -> None:
    """After any steps: those named are exactly the followed ones that the reading did not see, and nobody else is
    followed than who was seen and not forgotten since.
    """
    tracked = Tracked()
    followed: set[AccountId] = set()
    seen: set[AccountId] = set()
    tracked.begin()
    for step, account in [*steps, ("end", KEYS[0])]:
        if step == "see":
            tracked.see(account)
            followed.add(account)
            seen.add(account)
        elif step == "forget":
            tracked.forget(account)
            followed.discard(account)
            seen.discard(account)
        elif step == "begin":
            tracked.begin()
            seen.clear()
        else:
            assert set(tracked.end()) == followed - seen
        assert set(tracked) == followed
        assert len(tracked) == len(followed)
    assert tracked.are_loaded


def test_an_address_that_is_none_is_said_once() -> None:
    """It is not followed; its row does not end the reading of the others."""
    tracked = Tracked()
    assert tracked.checked("GABC") is None
    assert tracked.checked("GABC") is None
    assert tracked.checked(KEYS[0]) == KEYS[0]
