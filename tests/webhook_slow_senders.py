"""`python -m tests.webhook_slow_senders PORT COUNT`: connections that waste a server's time, until killed.

A third sends nothing, a third drips a header, a third drips the body of a request that is not proved. Half of them come
from the good sender's address, the others from many. Whoever is cut comes back after a while.
"""

import asyncio
import contextlib
import itertools
import random
import sys

from tests.webhook_senders import naming, request, signed

DRIP_S = 1.0
BACK_S = 2.0
SAY_EVERY_S = 0.2
BODY = naming("G")
HEAD = request(BODY, {**signed(BODY), "x-padding": "x" * 4_000})
PARTS = (b"", HEAD[:40], request(BODY, signed(BODY) | {"content-length": "60000"}))
made = itertools.count(1)
latest = 0


async def waste(port: int, number: int) -> None:
    """One connection, for ever."""
    global latest  # noqa: PLW0603 - a counter of a program of one file
    address = "127.0.0.1" if number % 2 else f"127.0.{1 + number % 50}.{1 + number % 199}"
    begun = PARTS[number % len(PARTS)]
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
            latest = next(made)
            with contextlib.suppress(OSError):
                await _drip(writer, begun)
            writer.transport.abort()
        await asyncio.sleep(BACK_S * random.uniform(0.5, 1.5))  # noqa: S311


async def _drip(writer: asyncio.StreamWriter, begun: bytes) -> None:
    writer.write(begun)
    while not writer.transport.is_closing():
        if begun:
            writer.write(b"x")
        await asyncio.sleep(DRIP_S)


async def main(port: int, count: int) -> None:
    tasks = [asyncio.create_task(waste(port, number)) for number in range(count)]
    sys.stdout.write("{}\n")
    sys.stdout.flush()
    while not any(task.done() for task in tasks):
        sys.stderr.write(f"{latest}\n")
        sys.stderr.flush()
        await asyncio.sleep(SAY_EVERY_S)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
