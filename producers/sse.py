"""Server-sent events as they come over the wire: bytes in, events out, however the bytes are cut.

The rules are those of the HTML standard (server-sent events, "parsing an event stream"): lines end in LF, CR or CRLF, a
blank line ends an event, an event without data is none.
"""

from dataclasses import dataclass
from typing import Final

from schema.stellar import Malformed

EVENT_BYTES_MAX: Final = 4 * 1024 * 1024  # Horizon's largest records, contract calls, stay far below


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event. `kind` is "message" where the stream names none, as it does for Horizon's records."""

    kind: str
    data: str
    id: str | None  # the last id the stream gave, which outlives its event
    retry_ms: int | None  # how long to wait before connecting again, where this event's lines said so


class Parser:
    """The state of one connection. Feed it what arrives; it never asks for more."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._after_cr = False  # an LF that comes next belongs to the CR before it
        self._at_start = True  # a byte order mark may come first
        self._kind = ""
        self._data: list[str] = []
        self._data_bytes = 0
        self._id: str | None = None
        self._retry_ms: int | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that these bytes complete. Malformed when one event grows beyond EVENT_BYTES_MAX."""
        if not chunk:
            return []
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
        events = []
        *ended, rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for part in ended:
            self._line += part
            event = self._end_line()
            if event is not None:
                events.append(event)
        self._line += rest
        self._after_cr = chunk.endswith(b"\r")
        if len(self._line) + self._data_bytes > EVENT_BYTES_MAX:
            raise Malformed(bytes(self._line[:80]), expected=f"an event of at most {EVENT_BYTES_MAX} bytes")
        return events

    def _end_line(self) -> Event | None:
        raw = bytes(self._line)
        self._line.clear()
        if self._at_start:
            self._at_start = False
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if not raw:
            return self._dispatch()
        name, _, value = raw.decode(errors="replace").partition(":")
        self._take_field(name, value.removeprefix(" "), size=len(raw))
        return None

    def _take_field(self, name: str, value: str, *, size: int) -> None:
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
            self._data_bytes += size
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self._retry_ms = int(value)

    def _dispatch(self) -> Event | None:
        kind, data, retry_ms = self._kind, self._data, self._retry_ms
        self._kind, self._data, self._data_bytes, self._retry_ms = "", [], 0, None
        if not data:
            return None
        return Event(kind=kind or "message", data="\n".join(data), id=self._id, retry_ms=retry_ms)
