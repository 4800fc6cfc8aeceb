"""`python -m tests.crash_points.zygote`: has everything imported and rewritten, and forks a process for each life.

One JSON line a wish on standard input, one a birth and one a death on standard output. When the input closes it ends,
and every process that it forked with it.
"""

import gc
import importlib
import os
import random
import select
import signal
import sys
from typing import Any, Final, NoReturn

import orjson

from sandbox.parent import die_with_parent
from tests.crash_points import hook

LINE_BYTES_MAX: Final = 1 << 20
PROGRAMS: Final = ("consumer", "producers")


def main() -> None:
    """Import, then fork until the input closes."""
    hook.install()
    for program in PROGRAMS:
        importlib.import_module(f"{program}.__main__")

    leash = die_with_parent(signal.SIGKILL)
    if leash is not None:
        leash()
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    gc.collect()
    gc.freeze()
    _say(ready=True)
    buffer = b""
    while True:
        readable, _, _ = select.select([0, heard], [], [])
        if heard in readable:
            os.read(heard, 4096)
            _bury()
        if 0 in readable:
            read = os.read(0, LINE_BYTES_MAX)
            if not read:
                return
            *lines, buffer = (buffer + read).split(b"\n")
            for line in lines:
                wish = orjson.loads(line)
                pid = os.fork()
                if pid == 0:
                    _live(wish, (heard, told))
                _say(born=wish["number"], pid=pid)


def _bury() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        _say(died=pid, status=os.waitstatus_to_exitcode(status))


def _live(wish: dict[str, Any], pipes: tuple[int, int]) -> NoReturn:
    """The child: becomes the program, as `python -m` would run it."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        leash = die_with_parent(signal.SIGKILL)
        if leash is not None:
            leash()
        log = os.open(wish["log"], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for there, here in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(there, here)
        for pipe in (*pipes, log, nothing):
            os.close(pipe)
        os.environ.clear()
        os.environ.update(wish["environment"])
        random.seed()
        hook.set_constants(wish["constants"])
        if wish["armed"]:
            hook.arm(**wish["armed"])
        program, *arguments = wish["arguments"]
        app = sys.modules[f"{program}.__main__"].app
        app(args=arguments, prog_name=program)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException as error:  # noqa: BLE001 - the last place that can say it
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def _say(**fields: Any) -> None:
    os.write(1, orjson.dumps(fields) + b"\n")


if __name__ == "__main__":
    main()
