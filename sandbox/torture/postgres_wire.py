"""Just enough of PostgreSQL's protocol to see a COMMIT go by. Pure."""

import struct
from typing import Final

_HEADER: Final = struct.Struct("!cI")
_LENGTH: Final = struct.Struct("!I")
_WITHOUT_TYPE: Final = (80877102, 80877103, 80877104)  # cancel, SSL, GSS: not yet the startup
_TEXT_BYTES_MAX: Final = 64  # what of a message is kept to look at


class CommitWatch:
    """Fed what a client sends, in whatever pieces, it says when a COMMIT was in them."""

    def __init__(self) -> None:
        self._kept = b""
        self._left = 0  # bytes of a long message that are still to come and are of no interest
        self._is_started = False

    def feed(self, chunk: bytes) -> bool:
        """Whether a COMMIT was completed by this piece."""
        found = False
        if self._left:
            skipped = min(self._left, len(chunk))
            self._left -= skipped
            chunk = chunk[skipped:]
        self._kept += chunk
        while True:
            message = self._next()
            if message is None:
                return found
            found = found or _is_commit(*message)

    def _next(self) -> tuple[bytes, bytes] | None:
        """The next whole message's type and the beginning of its body."""
        header_bytes = _HEADER.size if self._is_started else 2 * _LENGTH.size
        if len(self._kept) < header_bytes:
            return None
        if self._is_started:
            kind, length = _HEADER.unpack_from(self._kept)
            whole = 1 + length
        else:
            kind, whole = b"", _LENGTH.unpack_from(self._kept)[0]
            (code,) = _LENGTH.unpack_from(self._kept, _LENGTH.size)
            self._is_started = code not in _WITHOUT_TYPE
        if len(self._kept) < whole and kind in (b"Q", b"P") and whole <= _TEXT_BYTES_MAX:
            return None
        body = self._kept[header_bytes : min(whole, _TEXT_BYTES_MAX)]
        self._left = max(0, whole - len(self._kept))
        self._kept = self._kept[whole:]
        return kind, body


def _is_commit(kind: bytes, body: bytes) -> bool:
    if kind == b"Q":
        text = body
    elif kind == b"P":
        text = body.partition(b"\0")[2]
    else:
        return False
    return text.partition(b"\0")[0].strip(b"; \n").upper() == b"COMMIT"
