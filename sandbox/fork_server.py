"""A fork server: an interpreter that has imported everything already, and forks a process for each wish.

One JSON line a wish on standard input: its `number`, its `environment`, the `log` for its words, and what the server's
`become` understands. One line a birth and one a death on standard output, a process's birth first. When the input
closes the server ends, and every process with it. From outside it is `sandbox/nursery.py`.
"""

import contextlib
import gc
import os
import select
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import orjson

from sandbox.parent import die_with_parent

READ_BYTES_MAX: Final = 1 << 20

Wish = Mapping[str, Any]
Become = Callable[[Wish], int]


def serve(become: Become) -> None:
    """Fork until standard input ends; `become` runs in the child, and gives its exit code. Import before."""
    leash = die_with_parent(signal.SIGKILL)
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at a terminal it is for whoever started the server
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # a signal without a handler does not wake
    gc.collect()
    gc.freeze()
    _say(ready=True)
    kept = b""
    while True:
        readable, _, _ = select.select([0, heard], [], [])
        if heard in readable:
            os.read(heard, 4096)
            _bury()
        if 0 in readable:
            read = os.read(0, READ_BYTES_MAX)
            if not read:
                return
            *lines, kept = (kept + read).split(b"\n")
            for line in lines:
                wish = orjson.loads(line)
                pid = os.fork()
                if pid == 0:
                    _live(wish, become, leash, (heard, told))
                _say(born=wish["number"], pid=pid)


def _bury() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _say(died=pid, code=os.waitstatus_to_exitcode(status))


def _say(**fields: Any) -> None:
    os.write(1, orjson.dumps(fields) + b"\n")


def _live(wish: Wish, become: Become, leash: Callable[[], None] | None, pipe: Sequence[int]) -> NoReturn:
    """The child, to its end: as the interpreter itself would run a program."""
    code = 1
    try:
        _part(wish, leash, pipe)
        code = become(wish)
    except SystemExit as ended:
        code = _exit_code(ended)
    except BaseException:  # noqa: BLE001 - as the interpreter itself would
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _part(wish: Wish, leash: Callable[[], None] | None, pipe: Sequence[int]) -> None:
    """Leave everything of the server's behind but its session: its signals, files and environment."""
    if leash is not None:
        leash()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for there, here in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(there, here)
    for number in (*pipe, log, nothing):
        os.close(number)
    os.environ.clear()
    os.environ.update(wish["environment"])


def _exit_code(ended: SystemExit) -> int:
    if ended.code is None or isinstance(ended.code, int):
        return ended.code or 0
    sys.stderr.write(f"{ended.code}\n")
    return 1
