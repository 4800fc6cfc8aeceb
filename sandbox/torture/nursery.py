"""`python -m sandbox.torture.nursery`: starts our programs from an interpreter that has imported them already.

A child is forked and runs `python -m <module>` as its __main__ with an environment of its own: the same program, up in
a tenth of the time. Requests come as JSON lines on standard input, answers and endings go out as JSON lines.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from sandbox.parent import die_with_parent

# What the programs import, but for the modules that are run themselves.
IMPORTED: Final = (
    "consumer.service",
    "consumer.settings",
    "producers.read_now",
    "producers.settings",
    "producers.stream",
    "rich.console",
    "sandbox.executor_core",
    "sandbox.executor_horizon",
    "sandbox.executor_lines",
    "sandbox.executor_settings",
    "sandbox.executor_signing",
    "sandbox.executor_store",
    "schema.service.health",
    "stellar_sdk",
    "typer",
    "typer.rich_utils",
)
_CLOCK: Final = "sandbox.torture.clock"  # must be there before anything else is imported: a fresh interpreter


def main() -> None:
    """Serve until standard input ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    ask_kernel = die_with_parent(signal.SIGKILL)
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    os.set_blocking(wake_reader, False)
    signal.signal(signal.SIGCHLD, _noted)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wake_writer)
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(wake_reader, selectors.EVENT_READ)
    kept = b""
    _say({"ready": True})
    while True:
        selector.select()
        with contextlib.suppress(BlockingIOError):
            os.read(wake_reader, 1024)
        _reap()
        if not any(key.fd == 0 for key, _ in selector.select(timeout=0)):
            continue
        got = os.read(0, 65536)
        if not got:
            return
        *lines, kept = (kept + got).split(b"\n")
        for line in lines:
            request = json.loads(line)
            _say({"id": request["id"], "pid": _start(request, ask_kernel, (wake_reader, wake_writer))})


def _noted(_number: int, _frame: FrameType | None) -> None:
    """A signal without a handler does not wake."""


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            _say({"ended": pid, "code": os.waitstatus_to_exitcode(status)})


def _start(request: dict[str, Any], ask_kernel: Callable[[], None] | None, pipe: tuple[int, int]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        if ask_kernel is not None:
            ask_kernel()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in pipe:
            os.close(number)
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = _become(request)
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _become(request: dict[str, Any]) -> int:
    """Run the module as `python -m` does; its exit code."""
    environment, arguments = request["environment"], request["arguments"]
    if request["shift_s"]:
        command = [sys.executable, "-m", _CLOCK, str(request["shift_s"]), request["module"], *arguments]
        os.execve(sys.executable, command, environment)  # noqa: S606 - our own
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [request["module"], *arguments]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(ended.code + "\n")
            return 1
        return ended.code or 0
    except BaseException:  # noqa: BLE001 - as the interpreter itself would
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    main()
