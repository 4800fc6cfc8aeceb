"""Records whose headers have names that are no text: Kafka takes any bytes, and aiokafka cannot read such a record.

It fails with UnicodeDecodeError, each time anew: whoever may write to a topic could stop its readers for good.
"""

from collections.abc import Iterator
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_AT: Final = slice(8, 12)  # of a batch, in every format: the base offset comes first
_OVERHEAD: Final = 12


def read_any_header_name() -> None:
    """From now on consumers of this process read such records, what is no text written as escapes."""
    fetcher.MemoryRecords = _Records


class _Records:
    """The batches of a fetch, each with its own bytes."""

    def __init__(self, fetched: bytes) -> None:
        self._records: Any = MemoryRecords(fetched)
        self._left = memoryview(fetched)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._records, name)

    def next_batch(self) -> "_Batch | None":
        batch = self._records.next_batch()
        if batch is None:
            return None
        size = _OVERHEAD + int.from_bytes(self._left[_LENGTH_AT], "big")
        own, self._left = self._left[:size], self._left[size:]
        return _Batch(batch, own)


class _Batch:
    """One batch. What was read of it before the fault comes again: the fetcher passes over offsets that it has had."""

    def __init__(self, batch: Any, own: memoryview) -> None:
        self._batch = batch
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batch
        except UnicodeDecodeError:
            yield from _forgiving(self._own)


def _forgiving(own: memoryview) -> _DefaultRecordBatchPy:
    batch = _DefaultRecordBatchPy(own)
    batch._maybe_uncompress()  # noqa: SLF001
    batch._buffer = _Forgiving(batch._buffer)  # noqa: SLF001
    return batch


class _Forgiving(bytearray):
    """Bytes whose slices are text in any case."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return _Forgiving(found) if isinstance(key, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)
