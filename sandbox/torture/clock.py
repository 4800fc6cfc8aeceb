"""`python -m sandbox.torture.clock SECONDS MODULE ARGUMENTS...`: a program whose clock is off by so much.

Everything that Python code calls the time of day is shifted before the program imports anything: `time.time`,
`time.time_ns`, `datetime.now`, `utcnow`, `today`. Waiting (the monotonic clock) is not, as with a real machine whose
clock is wrong. What C code asks the kernel for itself (the stamps of files) stays right.
"""

import datetime as dt
import runpy
import sys
import time
from typing import Any, Final

_REAL: Final = dt.datetime
_REAL_TIME: Final = time.time
_REAL_TIME_NS: Final = time.time_ns
_NS: Final = 1_000_000_000


class _Kind(type):
    """A datetime that C code made is one, too."""

    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _REAL)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _REAL)


def shift(seconds: int) -> None:
    """From now on the time of day is off by so much, for whatever is imported after this."""
    step = dt.timedelta(seconds=seconds)

    class Shifted(dt.datetime, metaclass=_Kind):
        __slots__ = ()  # C code minds the size

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return _REAL.now(tz) + step

        @classmethod
        def utcnow(cls) -> Any:
            return _REAL.now(dt.UTC).replace(tzinfo=None) + step

        @classmethod
        def today(cls) -> Any:
            return _REAL.now() + step

    Shifted.__name__ = Shifted.__qualname__ = "datetime"
    dt.datetime = Shifted  # type: ignore[misc]
    time.time = lambda: _REAL_TIME() + seconds
    time.time_ns = lambda: _REAL_TIME_NS() + seconds * _NS


def main() -> None:
    """Shift, then be the program."""
    seconds, module, *arguments = sys.argv[1:]
    shift(int(seconds))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
