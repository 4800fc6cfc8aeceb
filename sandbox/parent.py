"""A child that ends with its parent, even when that was killed: nothing of a sandbox stays behind."""

import ctypes
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(how: signal.Signals) -> Callable[[], None] | None:
    """For `preexec_fn`: the kernel sends this signal when the thread that started the child ends. None off Linux."""
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)  # here, not in the child between fork and exec

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, how)

    return ask_kernel
