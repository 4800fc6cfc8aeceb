"""In the process that is to die: modules are rewritten as they are imported, and one point is armed.

Production code has no part in this, and none of it runs outside of the crash tests.
"""

import importlib
import importlib.abc
import importlib.machinery
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType, TracebackType
from typing import Any, Final, TypeVar

from tests.crash_points import points

_T = TypeVar("_T")


@dataclass(slots=True)
class _Armed:
    name: str = ""
    side: str = ""
    hits_left: int = 0
    passes: int = -1  # a file to which each pass adds a byte


_armed: Final = _Armed()


def arm(name: str, side: str, *, hit: int, passes: str) -> None:
    """Die by SIGKILL at the n-th pass there."""
    _armed.name, _armed.side, _armed.hits_left = name, side, hit
    _armed.passes = os.open(passes, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)


def mark(name: str, side: str) -> None:
    """A point is passed."""
    if name != _armed.name or side != _armed.side:
        return
    os.write(_armed.passes, b".")
    _armed.hits_left -= 1
    if _armed.hits_left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


async def point(name: str, awaited: Awaitable[_T]) -> _T:
    """What stands in the place of what is awaited."""
    mark(name, "before")
    try:
        return await awaited
    finally:
        mark(name, "after")


class Around:
    """What stands in the place of an asynchronous context manager."""

    def __init__(self, enter: str, leave: str, inner: Any) -> None:
        self._enter, self._leave, self._inner = enter, leave, inner

    async def __aenter__(self) -> Any:
        return await point(self._enter, self._inner.__aenter__())

    async def __aexit__(
        self, type_: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        return await point(self._leave, self._inner.__aexit__(type_, error, trace))


class Steps:
    """What stands in the place of an asynchronous iterable."""

    def __init__(self, name: str, inner: Any) -> None:
        self._name, self._inner = name, inner

    def __aiter__(self) -> AsyncIterator[Any]:
        self._inner = aiter(self._inner)
        return self

    async def __anext__(self) -> Any:
        return await point(self._name, anext(self._inner))


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles the rewritten module, and keeps no bytecode of it."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        tree, _ = points.rewrite(fullname, self.get_data(path))
        return compile(tree, path, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update({points.POINT: point, points.AROUND: Around, points.STEPS: Steps})
        super().exec_module(module)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds our packages' modules with the loader above."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname.partition(".")[0] not in points.PACKAGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


def install() -> None:
    """From now on. None of them may have been imported before."""
    early = [name for name in sys.modules if name.partition(".")[0] in points.PACKAGES]
    assert not early, f"imported before they could be rewritten: {early}"
    sys.meta_path.insert(0, _Finder())


def set_constants(constants: Mapping[str, float]) -> None:
    """Shorten waits: `module.NAME` to seconds. A name that is not there is an error."""
    for dotted, value in constants.items():
        module_name, _, name = dotted.rpartition(".")
        module = importlib.import_module(module_name)
        assert hasattr(module, name), f"no constant {dotted}: see tests/crash_points/scenarios.py"
        setattr(module, name, value)
