"""docs/torture.md: the faults from their one list."""

from typing import Final

from sandbox.torture.registry import all_faults

BEGINNING: Final = """# Torture

```sh
make kafka                                    # once: a real Apache Kafka (Java 17, Maven)
make torture                                  # 60 kills and every fault, some five minutes
make torture KILLS=10000 MINUTES=180 SEED=7   # a night's worth
make torture ARGS=--only=commit-lost          # one kind alone, with the kills
```

Real processes (`python -m producers stream`, `python -m consumer`, the sandbox's executor), a real PostgreSQL, a real
Apache Kafka and the sandbox's Horizon, with a TCP proxy in every link between two of them (`sandbox/torture/proxy.py`).
Traffic flows all the time; besides, each of up to 1,000 quiet wallets is paid once, so that no later payment can bring
what was lost. Faults come one after another; kills (`kill -9` of any of our processes, up to four in one
moment) come beside them. After each fault something must be recorded again within 90 s, kills or not. In the end
everything is healed, the world must come to rest within 300 s with nobody's help, and the oracle judges.

The seed decides the plan (which faults, at what, how long, which kills when) and the traffic.
`python -m sandbox.torture --plan` prints it, and a run writes it to its folder with the logs of every process. What the
processes make of it depends on the machine: a run that finds something is repeated by its seed, not replayed to the
microsecond.

"""
ORACLE: Final = """
## The oracle

`sandbox/ledger_book.py` knows the chain's own history, everything said on the topics, and the tables. It shares no code
with the decision. Exit code 0 means that it found nothing:

"""
AFTER_ORACLE: Final = """
A dead letter, a process that ended by itself, a fault after which nothing was recorded in time and a world that does
not come to rest count as found, too. `tests/integration/test_oracle.py` breaks each promise in a finished world and
sees it found. `doubtful` in the ending is money whose sources no fact could say, and which may therefore be protected.

## Reading the ending

`done` is how often the fault was done, `seconds` how long it was in force in all, then how long it took from its end
until the next fact was recorded (with the traffic's own pause in it: two tenths of a second at 5 payments a second).
`--json` prints the same for machines. A finding stands in `discrepancies`; the folder has the plan, what was done
when, and a log for each process.

## Where it needs something

- The faults of a full disk mount a small tmpfs under PostgreSQL and Kafka, in a mount namespace of their own: that
  takes Linux and root. Elsewhere they are left out, and the run says so in its first and in its last lines.
- A program whose clock is off is started with `sandbox/torture/clock.py`, which shifts what Python code calls the time
  of day before the program imports anything. PostgreSQL's clock is shifted as far as our queries see it: functions of
  the same names stand before the real ones in the search path.
- Our programs are forked from an interpreter that has imported them already (`sandbox/torture/zygote.py`), so that a
  start costs 30 ms and not a second. They run as `__main__` with their own environment, as Python runs a module.
- Where a fault needs a person, the torture does what [operations.md](operations.md) says: after `topic-recreated` and
  after `clock-database`. All others heal by themselves.
"""

DEPOSITED: Final = (
    "every payment to the vault on the chain is one command's recorded deposit, with its amount and one snapshot, and "
    "nothing else is recorded; what is left above the baseline and the excluded inflows is below the minimum; "
    "`protected_usdc` is not more than those, nor less where the owner spent nothing"
)
RECORDED: Final = (
    "no version twice, none that nobody told, each with what the chain held then. What was told is recorded, unless a "
    "newer version of that wallet was told before it. Several changes between two reads are one fact, the last: a "
    "touched version that was never told is covered by the next, and counted as `versions_collapsed`"
)
ORDERED: Final = "a wallet's commands are on the topic, by first appearance, in the order in which they were decided"
CAUSED: Final = "a recorded fact whose snapshot names it, another command, or its own wallet's wait; no cause has two"
PROMISES: Final = (
    ("a: what was deposited is what qualified", DEPOSITED),
    ("b: a fact is recorded once at most, and each touched version", RECORDED),
    ("c: at rest the stored balance is the chain's", "`previous_usdc_balance`, and its version"),
    ("d: one id, one byte string", "everything sent under a command's id is what is stored"),
    ("e: order", ORDERED),
    ("f: every command has a cause", CAUSED),
    ("g: snapshots link up", "each row's previous balance is the balance of the row before"),
)


def page() -> str:
    """The page's Markdown."""
    rows = [
        "| fault | what is done | seconds |",
        "|---|---|---|",
        "| `kill` | Beside all others: kill -9, at any moment. | |",
    ]
    for name, each in all_faults().items():
        low, high = each.kind.seconds
        rows.append(f"| `{name}` | {each.kind.about} | {low:g} to {high:g} |")
    promises = ["| promise | how it is judged |", "|---|---|", *(f"| {name} | {how} |" for name, how in PROMISES)]
    return "\n".join([f"{BEGINNING}## The faults\n", *rows, ORACLE, *promises, AFTER_ORACLE])
