"""One of our programs with an eye on its event loop: `python -m bench.million_child FILE MODULE ARGUMENTS...`.

The program itself is as it always is. A task of its loop ticks; a thread looks at the ticks, and where one is late
takes down what the loop is at. What was seen is written to the file every second, and at the end.
"""

import asyncio
import re
import resource
import runpy
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import orjson

TICK_S: Final = 0.01
LATE_S: Final = 0.1
FRAMES: Final = 12
WRITE_S: Final = 1.0


class Watch:
    """What is seen of one loop."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._thread = threading.get_ident()
        self._tick_s, self._worked_s = time.perf_counter(), time.thread_time()
        self.longest_s = self.longest_worked_s = 0.0
        self.late = 0
        self.places: Counter[str] = Counter()

    async def tick(self) -> None:
        """Be on time, for ever."""
        while True:
            before_s, worked_before_s = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_S)
            self._tick_s = time.perf_counter()
            late_s = self._tick_s - before_s - TICK_S
            worked_s = min(late_s, time.thread_time() - worked_before_s)  # a busy machine is not what the loop did
            self.longest_s = max(self.longest_s, late_s)
            self.longest_worked_s = max(self.longest_worked_s, worked_s)
            self.late += worked_s > LATE_S

    def look(self) -> None:
        """Say where the loop is whenever it does not tick, for ever."""
        written_s = 0.0
        while True:
            time.sleep(TICK_S)
            now_s = time.perf_counter()
            if now_s - self._tick_s > LATE_S:
                frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - there is no other way to see it
                if frame is not None and frame.f_code.co_name == "select":
                    continue  # idle: it is the machine that is late
                stack = traceback.extract_stack(frame)[-FRAMES:] if frame else []
                self.places[
                    " < ".join(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in stack[::-1])
                ] += 1
            if now_s - written_s >= WRITE_S:
                written_s = now_s
                self.write()

    def write(self) -> None:
        """Say it."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        said = {
            "longest_stall_ms": round(1000 * self.longest_s),
            "longest_own_ms": round(1000 * self.longest_worked_s),
            "own_stalls": self.late,
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
            "peak_rss_mib": _peak_rss_kib() // 1024,
            "places": dict(self.places.most_common(20)),
        }
        beside = self._file.with_suffix(".new")
        beside.write_bytes(orjson.dumps(said))
        beside.replace(self._file)


def _peak_rss_kib() -> int:
    """Of this program alone: getrusage() tells the parent's where that had more before it started us."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(re.search(r"VmHWM:\s+(\d+)", status.read_text())[1])  # type: ignore[index]


def main() -> None:
    """Run the module as `python -m` would, watched."""
    file, module, *arguments = sys.argv[1:]
    watch = Watch(Path(file))
    run = asyncio.run

    async def watched(work: Coroutine[Any, Any, Any]) -> Any:
        ticking = asyncio.create_task(watch.tick())
        threading.Thread(target=watch.look, daemon=True).start()
        try:
            return await work
        finally:
            ticking.cancel()
            watch.write()

    asyncio.run = lambda work, **options: run(watched(work), **options)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
