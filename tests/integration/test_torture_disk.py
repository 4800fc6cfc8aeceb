"""A disk of its own that can be filled, or a clear word that there is none."""

import subprocess
import sys
from pathlib import Path

from sandbox.children import ROOT

# In a process of its own: what it mounts is gone with it.
PROGRAM = """
import errno, sys
from pathlib import Path
from sandbox.torture import disk

try:
    disk.keep_mounts_to_ourselves()
    small = disk.Disk(Path(sys.argv[1]), megabytes=8)
except disk.NotAllowed as refused:
    sys.exit(f"not allowed: {refused}")
kept = small.folder / "kept"
kept.write_bytes(b"x" * 1_000_000)
small.fill()
try:
    (small.folder / "more").write_bytes(b"x" * 100_000)
except OSError as full:
    print("full" if full.errno == errno.ENOSPC else full)
assert kept.read_bytes() == b"x" * 1_000_000
small.free()
(small.folder / "more").write_bytes(b"x" * 1_000_000)
print("free")
"""


def test_a_disk_is_full_and_then_is_not(tmp_path: Path) -> None:
    """What is filled takes nothing more and keeps what it has; freed it takes again; nobody else sees it."""
    folder = tmp_path / "disk"
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder)], cwd=ROOT, check=False, capture_output=True, text=True
    )
    if run.returncode == 0:
        assert run.stdout.split() == ["full", "free"], run.stderr
        assert list(folder.iterdir()) == []
    else:
        assert run.stderr.startswith("not allowed: "), run.stderr
