"""A small disk of its own (tmpfs) that can be filled up. Linux, and the right to mount, are needed."""

import ctypes
import os
import sys
from pathlib import Path
from typing import Final

_CLONE_NEWNS: Final = 0x00020000
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000
_MNT_DETACH: Final = 2
_BALLAST: Final = "ballast"


class NotAllowed(Exception):
    """Disks cannot be mounted here; says why."""


def keep_mounts_to_ourselves() -> None:
    """What this program mounts is seen by it and its children alone, and is gone with the last of them.

    Call it before there is a second thread. NotAllowed where the kernel does not let us.
    """
    if sys.platform != "linux":
        raise NotAllowed("only Linux has what it takes")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None):
        raise NotAllowed(os.strerror(ctypes.get_errno()))


class Disk:
    """A tmpfs at `folder`. `fill` leaves nothing of it, `free` gives that back."""

    def __init__(self, folder: Path, *, megabytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"size={megabytes}m,mode=0755".encode()
        if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options):
            raise NotAllowed(f"mount: {os.strerror(ctypes.get_errno())}")
        self.folder = folder
        self._ballast = folder / _BALLAST

    def fill(self) -> None:
        """Take every block that is left."""
        with self._ballast.open("ab") as ballast:
            while True:
                free = os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize
                if not free:
                    return
                try:
                    os.posix_fallocate(ballast.fileno(), self._ballast.stat().st_size, free)
                except OSError:  # somebody else took some of it
                    if free <= os.statvfs(self.folder).f_frsize:
                        return

    def free(self) -> None:
        """Give it back."""
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Take it away with everything on it."""
        ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(self.folder), _MNT_DETACH)
