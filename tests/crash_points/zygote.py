"""`python -m tests.crash_points.zygote`: the fork server of lives that end at a point. Everything is imported and
rewritten already; a child shortens its waits, arms its point, and becomes the program as `python -m` would run it.
"""

import importlib
import sys
from typing import Final

from sandbox import fork_server
from tests.crash_points import hook

PROGRAMS: Final = ("consumer", "producers")


def main() -> None:
    """Import, then serve until standard input ends."""
    hook.install()
    for program in PROGRAMS:
        importlib.import_module(f"{program}.__main__")
    fork_server.serve(_become)


def _become(wish: fork_server.Wish) -> int:
    hook.set_constants(wish["constants"])
    if wish["armed"]:
        hook.arm(**wish["armed"])
    program, *arguments = wish["arguments"]
    sys.modules[f"{program}.__main__"].app(args=arguments, prog_name=program)
    return 0


if __name__ == "__main__":
    main()
