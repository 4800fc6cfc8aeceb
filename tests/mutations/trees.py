"""Copies of the tree to break: the one in use is never touched."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_OUT = (
    ".git",
    ".venv",
    ".kafka",
    ".sandbox",
    ".hypothesis",
    "__pycache__",
    "*_cache",
    "build",
    "*.egg-info",
    "mutants",
)


@contextmanager
def copied() -> Iterator[Path]:
    """A copy of the sources and tests that is gone afterwards. The broker's jars are linked, not copied."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
        if (ROOT / ".kafka").is_dir():
            (tree / ".kafka").symlink_to(ROOT / ".kafka")
        yield tree
