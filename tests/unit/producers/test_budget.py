"""How many requests the source is asked, and how long it is left alone."""

import asyncio
import time

from producers.budget import BURST_REQUESTS, Budget


async def test_a_burst_and_then_the_rate() -> None:
    """A burst goes through at once; what comes after it waits for the hour's rate."""
    budget = Budget(50 * 3600)
    began = time.monotonic()
    for _ in range(BURST_REQUESTS):
        await budget.admit()
    burst_s = time.monotonic() - began
    for _ in range(25):
        await budget.admit()
    assert burst_s < BURST_REQUESTS / 50, "the burst kept to the rate"
    assert time.monotonic() - began >= 0.4


async def test_a_small_budget_is_no_burst() -> None:
    """An hour's budget below the burst is never exceeded at once; what costs more than all of it still goes through."""
    budget = Budget(3)
    for _ in range(3):
        await asyncio.wait_for(budget.admit(), 30)
    waiting = asyncio.create_task(budget.admit())
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    waiting.cancel()
    await asyncio.wait_for(Budget(3).admit(1_000), 30)


async def test_no_budget_is_no_limit() -> None:
    """0 an hour lets everything through."""
    budget = Budget(0)
    async with asyncio.timeout(30):
        for _ in range(10_000):
            await budget.admit()


async def test_a_pause_holds_everyone() -> None:
    """What a Retry-After asks for holds every request, and a shorter one that follows does not cut it short."""
    budget = Budget(0)
    budget.pause(0.3)
    budget.pause(0.05)
    began = time.monotonic()
    await asyncio.gather(*(budget.admit() for _ in range(5)))
    assert time.monotonic() - began >= 0.28


async def test_what_can_be_afforded_is_taken_and_not_waited_for() -> None:
    """As many of the wanted requests as there are now, of a burst of one's own; without a limit all of them."""
    budget = Budget(3600, burst_requests=5)
    assert [await budget.afford(3), await budget.afford(3), await budget.afford(3)] == [3, 2, 0]
    assert await Budget(0).afford(1_000) == 1_000


async def test_what_costs_much_is_not_last_while_very_many_are_read() -> None:
    """The bucket serves small amounts first: a wait in a stream that owes a dozen looks would begin when a census has
    ended. It has its turns between the census's requests, as one request has.
    """
    budget, left = Budget(200 * 3600), 1_000
    await budget.admit(BURST_REQUESTS)

    async def read_all() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await budget.admit(in_bulk=True)

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(16):
            tasks.create_task(read_all())
        for requests in (12, 1, 12):
            await asyncio.sleep(0)
            before = left
            await budget.admit(requests)
            assert before - left < 100, f"{requests} waited for {before - left} others"
        left = 0
