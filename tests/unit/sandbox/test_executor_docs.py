"""docs/executor.md is read by those who write a real executor: its examples decode, its files and codes are there."""

import re
from pathlib import Path

from schema import deposit_command, deposit_result
from schema.deposit_result import ResultStatus

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/executor.md").read_text()


def test_the_examples_are_messages() -> None:
    """The command and both results in the page are accepted by the decoders."""
    command, succeeded, failed = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    read = deposit_command.decode(command.encode())
    results = [deposit_result.decode(each.encode()) for each in (succeeded, failed)]
    assert {result.command_id for result in results} == {read.command_id}
    assert [result.status for result in results] == [ResultStatus.SUCCEEDED, ResultStatus.FAILED]
    assert results[0].amount_stroops == read.amount_stroops == read.balance_stroops - read.reserve_stroops


def test_the_files_are_there_and_the_codes_are_the_executors_own() -> None:
    """Every path named in the page exists; every code that the executor can give is explained, and no other."""
    for path in set(re.findall(r"`((?:schema|sandbox|tests|docs)/[\w./]+)`", PAGE)):
        assert (ROOT / path).is_file(), path
    source = (ROOT / "sandbox/executor_core.py").read_text() + (ROOT / "sandbox/executor_horizon.py").read_text()
    given = set(re.findall(r'(?:Refusal|_failed)\((?:command, )?"(\w+)"', source))
    table = PAGE.split("## Codes of failure")[1].split("##")[0]
    explained = set(re.findall(r"`(\w+)`(?=[, |])", table)) - {"expires_at"}
    assert given == explained - {"tx_failed"}
