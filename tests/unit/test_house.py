"""The rules of the house that no linter has."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES_MAX = 300
FUNCTION_LINES_MAX = 70
PROCESSES = ("schema", "producers", "consumer")
ENVIRONMENT_READERS = {"__main__.py", "settings.py"}


def modules(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize(
    "path", [*modules(*PROCESSES, "sandbox", "bench", "docs", "tests")], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_file_fits_in_a_head(path: Path) -> None:
    """No module over 300 lines, no function over 70."""
    text = path.read_text()
    assert text.count("\n") <= LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, f"{node.name} is too long"


def test_only_settings_and_main_read_the_environment() -> None:
    """`os.environ` and `os.getenv` stand nowhere else in what runs in production."""
    readers = {
        path.relative_to(ROOT)
        for path in modules(*PROCESSES)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
    }
    assert {path.name for path in readers} <= ENVIRONMENT_READERS


def test_exceptions_in_general_are_caught_in_main_alone() -> None:
    """`except Exception` that does not raise again stands in __main__ alone: elsewhere it would hide a bug."""
    catchers = {
        path.relative_to(ROOT)
        for path in modules(*PROCESSES)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and not isinstance(node.body[-1], ast.Raise)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")))
    }
    assert {path.name for path in catchers} <= {"__main__.py"}


def test_amounts_are_never_floats() -> None:
    """No float() and no division anywhere near an amount: the decision and the messages have neither."""
    for path in modules("schema", "consumer"):
        if "service" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            is_float = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"
            is_division = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
            is_path = (is_division and "Path" in ast.unparse(node)) or (is_division and "FOLDER" in ast.unparse(node))
            assert not is_float, path
            assert not is_division or is_path, f"{path}:{node.lineno}" if hasattr(node, "lineno") else path
