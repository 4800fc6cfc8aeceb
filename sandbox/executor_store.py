"""What the executor must not forget, in SQLite: every command it has seen, the envelope it signed, the result it gave.

Every change is on the disk when the call returns (synchronous=FULL), so a kill at any moment leaves a known place to go
on from. The folder belongs to one process at a time.
"""

import contextlib
import fcntl
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Self
from uuid import UUID

from schema.stellar import AccountId, Stroops

_TABLES: Final = """
create table if not exists commands (
  position integer primary key autoincrement,
  command_id text not null unique,
  account_id text not null,
  content blob not null,
  envelope text,
  transaction_hash text,
  sequence integer,
  max_time integer,
  stroops integer,
  result blob,
  settled_ledger integer,
  reported integer not null default 0,
  check ((envelope is null) = (transaction_hash is null)),
  check (reported = 0 or result is not null)
) strict;
create index if not exists commands_unreported on commands (position) where reported = 0;
create index if not exists commands_settled on commands (account_id, settled_ledger);
create table if not exists refusals (
  position integer primary key autoincrement,
  command_id text not null,
  content blob not null,
  reason text not null
) strict;
"""


class FolderInUse(Exception):
    """Another executor works in this folder."""


class Acceptance(StrEnum):
    """What an arriving command is."""

    NEW = "new"
    SEEN = "seen"
    CONTRADICTION = "contradiction"  # a seen id with another content


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """The one transaction of a command."""

    envelope: str
    hash: str
    sequence: int
    max_time: int  # seconds since 1970
    stroops: Stroops


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCommand:
    """A command and how far it has come."""

    command_id: UUID
    account_id: AccountId
    content: bytes
    signed: Signed | None
    result: bytes | None
    reported: bool


class Store:
    """The executor's memory. Opening it takes the folder; FolderInUse when somebody has it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise FolderInUse(f"another executor works in {folder}") from error
        self._database = sqlite3.connect(folder / "executor.sqlite3", isolation_level=None)
        self._database.execute("pragma journal_mode=wal")
        self._database.execute("pragma synchronous=full")
        self._database.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the folder back. A killed process gives it back too."""
        self._database.close()
        self._lock.close()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Write what the block does in one go: one wait for the disk instead of one for each."""
        self._database.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._database.execute("rollback")
            raise
        self._database.execute("commit")

    def accept(self, command_id: UUID, account_id: AccountId, content: bytes) -> Acceptance:
        """Remember a command, once."""
        added = self._database.execute(
            "insert into commands (command_id, account_id, content) values (?, ?, ?) on conflict do nothing",
            (str(command_id), account_id, content),
        ).rowcount
        if added:
            return Acceptance.NEW
        return Acceptance.SEEN if self.get(command_id).content == content else Acceptance.CONTRADICTION

    def refuse(self, command_id: str, content: bytes, reason: str) -> None:
        """Keep what was refused, for whoever looks into it."""
        self._database.execute(
            "insert into refusals (command_id, content, reason) values (?, ?, ?)", (command_id, content, reason)
        )

    def sign(self, command_id: UUID, signed: Signed) -> None:
        """Keep the envelope, before anyone else sees it. There is never a second one."""
        changed = self._database.execute(
            "update commands set envelope = ?, transaction_hash = ?, sequence = ?, max_time = ?, stroops = ?"
            " where command_id = ? and envelope is null and result is null",
            (signed.envelope, signed.hash, signed.sequence, signed.max_time, signed.stroops, str(command_id)),
        ).rowcount
        assert changed == 1, f"{command_id} is signed or finished already"

    def finish(self, command_id: UUID, result: bytes, *, settled_ledger: int | None) -> None:
        """Keep the result, before anyone else sees it. There is never another one."""
        changed = self._database.execute(
            "update commands set result = ?, settled_ledger = ? where command_id = ? and result is null",
            (result, settled_ledger, str(command_id)),
        ).rowcount
        assert changed == 1, f"{command_id} has a result already"

    def mark_reported(self, command_id: UUID) -> None:
        """The result has been acknowledged by the broker."""
        self._database.execute("update commands set reported = 1 where command_id = ?", (str(command_id),))

    def get(self, command_id: UUID) -> StoredCommand:
        """A command that was accepted."""
        row = self._database.execute(f"{_SELECT} where command_id = ?", (str(command_id),)).fetchone()
        return _stored(row)

    def unreported(self) -> list[StoredCommand]:
        """What is left to do, oldest first."""
        rows = self._database.execute(f"{_SELECT} where reported = 0 order by position").fetchall()
        return [_stored(row) for row in rows]

    def settled_ledger(self, account_id: AccountId) -> int:
        """The ledger of the account's last deposit, or 0: a state older than that is not to be trusted."""
        row = self._database.execute(
            "select max(settled_ledger) from commands where account_id = ?", (account_id,)
        ).fetchone()
        return int(row[0] or 0)

    def refused(self) -> list[tuple[str, str]]:
        """Ids and reasons of what was refused, oldest first."""
        return list(self._database.execute("select command_id, reason from refusals order by position"))


_SELECT: Final = (
    "select command_id, account_id, content, envelope, transaction_hash, sequence, max_time, stroops, result, reported"
    " from commands"
)


def _stored(row: tuple[str, str, bytes, str | None, str, int, int, int, bytes | None, int]) -> StoredCommand:
    command_id, account_id, content, envelope, hash_, sequence, max_time, stroops, result, reported = row
    signed = None
    if envelope is not None:
        signed = Signed(envelope=envelope, hash=hash_, sequence=sequence, max_time=max_time, stroops=Stroops(stroops))
    return StoredCommand(
        command_id=UUID(command_id),
        account_id=AccountId(account_id),
        content=content,
        signed=signed,
        result=result,
        reported=bool(reported),
    )
