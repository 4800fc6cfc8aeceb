"""`python -m sandbox.torture.zygote`: the fork server of our programs. A child runs `python -m <module>` as its
__main__ with an environment of its own: the same program, up in a tenth of the time.
"""

import importlib
import os
import runpy
import sys
from typing import Final

from sandbox import fork_server

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
    """Import, then serve until standard input ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    fork_server.serve(_become)


def _become(wish: fork_server.Wish) -> int:
    os.setsid()  # as a service manager does it; Linux shares out the processor by sessions
    module, arguments = wish["module"], wish["arguments"]
    if wish["shift_s"]:
        command = [sys.executable, "-m", _CLOCK, str(wish["shift_s"]), module, *arguments]
        os.execve(sys.executable, command, os.environ)  # noqa: S606 - our own
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    main()
