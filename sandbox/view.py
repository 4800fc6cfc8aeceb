"""What a person sees: live tables in a terminal, plain lines elsewhere, and the summary at the end."""

from collections import deque
from typing import Any, Final

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sandbox.director import Director, Ending
from sandbox.latency import Latency
from sandbox.ledger_book import DISCREPANCIES_SHOWN, Sums
from sandbox.stage import Stage
from schema.stellar import format_stroops

WALLETS_SHOWN_MAX: Final = 10
EVENTS_SHOWN_MAX: Final = 15
FRAME_LINES: Final = 17  # what the tables, the notes and the line above take besides their rows
ROWS_MIN: Final = 3
_SHORT: Final = 8

_WALLETS: Final = """
select w.public_key, w.previous_usdc_balance as balance, w.protected_usdc as protected, w.balance_ledger as ledger,
       coalesce((select sum(amount) from deposit_commands c where c.wallet_id = w.id
                 and c.status in ('pending', 'published')), 0) as in_flight,
       coalesce((select sum(deposited_amount) from deposit_commands c where c.wallet_id = w.id), 0) as deposited
from stellar_wallets w where w.id = any($1::uuid[]) order by w.balance_ledger desc nulls last limit $2
"""
_EVENTS: Final = """
select s.id, s.created_at, w.public_key, s.snapshot_type, s.usdc_balance, s.balance_change, s.previous_balance,
       s.deposit_amount, s.transaction_hash, c.status
from balance_snapshots s join stellar_wallets w on w.id = s.wallet_id
left join deposit_commands c on c.command_id = s.command_id
where s.wallet_id = any($1::uuid[]) order by s.created_at desc, s.id desc limit $2
"""
_COUNTS: Final = """
select (select count(*) from balance_snapshots where wallet_id = any($1::uuid[])) as snapshots,
       (select count(*) from deposit_commands where wallet_id = any($1::uuid[])) as commands,
       (select count(*) from deposit_commands where wallet_id = any($1::uuid[]) and status = 'succeeded') as succeeded,
       (select count(*) from dead_letters) as dead_letters
"""


class View:
    """The live picture of one run. `notes` are what the director and the stage said."""

    def __init__(self, console: Console, stage: Stage, director: Director, notes: deque[str]) -> None:
        self._console = console
        self._stage = stage
        self._director = director
        self._notes = notes
        self._wallets: list[Any] = []
        self._events: list[Any] = []
        self.counts: dict[str, int] = {}

    async def refresh(self) -> None:
        """Read what is to be shown."""
        pool, ids = self._stage.pool, list(self._stage.wallets)
        lines = self._console.size.height - FRAME_LINES
        wallets = max(ROWS_MIN, min(WALLETS_SHOWN_MAX, len(ids), lines // 2))
        self._wallets = await pool.fetch(_WALLETS, ids, wallets)
        self._events = await pool.fetch(_EVENTS, ids, max(ROWS_MIN, min(EVENTS_SHOWN_MAX, lines - wallets)))
        self.counts = dict(await pool.fetchrow(_COUNTS, ids))

    def line(self) -> str:
        """The picture in one line, where there is no terminal."""
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in self.counts.items())
        return f"{self._director.phase}: {self._director.payments} payments, {counts}"

    def __rich__(self) -> Group:
        title = f"{len(self._stage.wallets)} wallets of {self._stage.asset.code} on {self._stage.options.network}"
        notes = Text("\n".join(self._notes), style="dim")
        return Group(
            Text(f"{self.line()}   (Ctrl-C: the summary)", style="bold"),
            _wallet_table(title, self._wallets),
            _event_table(self._events),
            Panel(notes, title="notes", height=5),
        )


def _wallet_table(title: str, rows: list[Any]) -> Table:
    table = Table(title=title, title_justify="left", expand=True)
    table.add_column("wallet")
    for name in ("balance", "protected", "in flight", "deposited", "ledger"):
        table.add_column(name, justify="right")
    for row in rows:
        amounts = (row["balance"], row["protected"], row["in_flight"], row["deposited"])
        table.add_row(_short(row["public_key"]), *(_amount(each) for each in amounts), str(row["ledger"] or "-"))
    return table


def _event_table(rows: list[Any]) -> Table:
    table = Table(title="what came in, and what was decided", title_justify="left", expand=True)
    for name in ("at", "wallet", "snapshot", "balance", "change", "decided"):
        table.add_column(name, justify="right" if name in ("balance", "change") else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            f"{row['created_at']:%H:%M:%S}",
            _short(row["public_key"]),
            row["snapshot_type"],
            _amount(row["usdc_balance"]),
            "-" if row["previous_balance"] is None else f"{row['balance_change']:+f}",
            _decided(row),
        )
    return table


def _decided(row: Any) -> Text:
    if row["snapshot_type"] == "auto_deposit_trigger":
        return Text(f"deposited {_amount(row['deposit_amount'])} in {row['transaction_hash'][:_SHORT]}…", style="green")
    if row["previous_balance"] is None:
        return Text("baseline: protected, nothing to deposit", style="dim")
    if row["deposit_amount"] is None and row["balance_change"] < 0:
        return Text("went down: nothing to deposit", style="dim")
    if row["deposit_amount"] is None:
        return Text("no command: below the minimum, or protected", style="dim")
    return Text(f"command {_amount(row['deposit_amount'])}: {row['status']}", style="yellow")


def _short(account_id: str) -> str:
    return f"{account_id[:_SHORT]}…{account_id[-4:]}"


def _amount(value: Any) -> str:
    return "-" if value is None else f"{value:.7f}"


def summary_as_json(stage: Stage, ending: Ending) -> dict[str, Any]:
    """The summary for machines."""
    sums, latency = ending.sums, ending.latency
    said: dict[str, Any] = {
        "exact": sums.exact if sums else None,
        "seed": stage.options.seed,
        "seconds": round(ending.seconds, 1),
        "wallets": len(stage.wallets),
        "payments": ending.payments,
        "kills": ending.kills,
    }
    if sums:
        said |= {name: format_stroops(getattr(sums, name)) for name in _AMOUNTS}
        said |= {name: getattr(sums, name) for name in _COUNTED}
        said |= {"commands_by_status": dict(sums.statuses), "discrepancies": sums.discrepancies}
    if latency:
        said["latency_s"] = {
            "commands": latency.commands,
            "p50": round(latency.p50_s, 4),
            "p95": round(latency.p95_s, 4),
            "p50_parts": {part: round(seconds, 4) for part, seconds in latency.parts_p50_s.items()},
        }
    return said


_AMOUNTS: Final = ("baseline", "received", "excluded", "doubtful", "spent", "deposited", "balance", "commanded")
_COUNTED: Final = ("snapshots", "commands", "dead_letters", "topic_commands", "topic_repeats")


def print_summary(console: Console, stage: Stage, ending: Ending, counts: dict[str, int]) -> None:
    """The summary for people: the sums, whether they are exact, and how long it took."""
    console.rule("summary")
    killed = f", {ending.kills} kills" if ending.kills else ""
    wallets, seed = len(stage.wallets), stage.options.seed
    _say(console, f"{ending.payments} payments to {wallets} wallets in {ending.seconds:.0f} s, seed {seed}{killed}")
    if ending.sums is None:
        _say(console, ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items()))
        _say(console, "The chain is not ours, so nothing here can prove the sums. The logs:", str(stage.options.folder))
        return
    _print_sums(console, ending.sums, stage.asset.code)
    if ending.latency:
        _print_latency(console, ending.latency)
    if ending.sums.exact:
        _say(console, "every sum is exact", style="bold green")
        return
    _say(console, f"{len(ending.sums.discrepancies)} DISCREPANCIES", style="bold red")
    for discrepancy in ending.sums.discrepancies[:DISCREPANCIES_SHOWN]:
        _say(console, f"  {discrepancy}")
    _say(console, "The logs:", str(stage.options.folder))


def _print_sums(console: Console, sums: Sums, code: str) -> None:
    table = Table(show_header=False, box=None)
    table.add_column(justify="right")
    table.add_column()
    doubt = f"; {format_stroops(sums.doubtful)} of it from unknown sources: protected" if sums.doubtful else ""
    for name, sign, words in (
        ("baseline", " ", "was there at first sight: protected"),
        ("received", "+", f"came in{doubt}"),
        ("excluded", "+", "came back from the vault: protected"),
        ("spent", "-", "was spent, put aside, pooled or taken back"),
        ("deposited", "-", "was deposited into the vault"),
        ("balance", "=", "is in the wallets now, on the chain as in the database"),
    ):
        table.add_row(f"{sign} {format_stroops(getattr(sums, name))} {code}", words)
    console.print(table)
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(sums.statuses.items()))
    _say(
        console, f"{sums.snapshots} snapshots; {sums.commands} commands ({statuses}); {sums.dead_letters} dead letters"
    )
    _say(
        console,
        f"{sums.topic_commands} command ids on the topic, {sums.topic_repeats} of them said again with the same bytes",
    )


def _print_latency(console: Console, latency: Latency) -> None:
    parts = " + ".join(f"{part} {seconds * 1000:.0f}" for part, seconds in latency.parts_p50_s.items())
    _say(
        console,
        f"from the ledger's close to the acknowledged command: p50 {latency.p50_s * 1000:.0f} ms, "
        f"p95 {latency.p95_s * 1000:.0f} ms over {latency.commands} commands\n  medians of the parts, in ms: {parts}",
    )


def _say(console: Console, *words: str, style: str | None = None) -> None:
    console.print(*words, style=style, soft_wrap=True)  # a line stays a line, for those who look for it with grep
