"""Every place where production code gives way: found in its syntax tree, and named so that a process can die there.

A point is an `await`, the entering or leaving of an `async with`, or a step of an `async for`. Its name is the function
and the words of the source; the same words twice in one function are numbered. Each has two sides: before it, and after
it, however it ended. The same walk that lists them rewrites them (hook.py), so that list and rewriting cannot differ.
"""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("consumer", "producers", "schema")
SIDES: Final = ("before", "after")
WORDS_MAX: Final = 90
POINT, AROUND, STEPS = "_crash_point", "_crash_around", "_crash_steps"  # what a rewritten module calls

_Scope = TypeVar("_Scope", ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def all_points() -> list[str]:
    """The names of every point, module by module, in the order of the source."""
    found: list[str] = []
    for module, path in modules():
        found += rewrite(module, path.read_bytes())[1]
    return found


def modules() -> Iterator[tuple[str, Path]]:
    """Every module that runs in production, by its dotted name."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def rewrite(module: str, source: bytes) -> tuple[ast.Module, list[str]]:
    """The module with a call around each of its points, and their names."""
    walk = _Walk(module)
    tree = walk.visit(ast.parse(source))
    assert isinstance(tree, ast.Module)
    return ast.fix_missing_locations(tree), walk.names


class _Walk(ast.NodeTransformer):
    """Goes through a module, names its points and puts calls around them."""

    def __init__(self, module: str) -> None:
        self.names: list[str] = []
        self._scopes = [module]
        self._seen: Counter[str] = Counter()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._scope(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._scope(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._scope(node)

    def visit_Await(self, node: ast.Await) -> ast.AST:
        name = self._name("", node.value)
        self.generic_visit(node)
        node.value = _call(POINT, name, of=node.value)
        return node

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        names = [
            (self._name("enter ", item.context_expr), self._name("exit ", item.context_expr)) for item in node.items
        ]
        self.generic_visit(node)
        for item, pair in zip(node.items, names, strict=True):
            item.context_expr = _call(AROUND, *pair, of=item.context_expr)
        return node

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        name = self._name("next of ", node.iter)
        self.generic_visit(node)
        node.iter = _call(STEPS, name, of=node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        name = self._name("next of ", node.iter) if node.is_async else None
        self.generic_visit(node)
        if name is not None:
            node.iter = _call(STEPS, name, of=node.iter)
        return node

    def _scope(self, node: _Scope) -> _Scope:
        self._scopes.append(node.name)
        self.generic_visit(node)
        self._scopes.pop()
        return node

    def _name(self, kind: str, node: ast.expr) -> str:
        words = " ".join(ast.unparse(node).split())
        name = f"{'.'.join(self._scopes)}: {kind}{words[:WORDS_MAX].strip()}"
        self._seen[name] += 1
        if self._seen[name] > 1:
            name += f" #{self._seen[name]}"
        self.names.append(name)
        return name


def _call(function: str, *names: str, of: ast.expr) -> ast.expr:
    call = ast.Call(ast.Name(function, ast.Load()), [*(ast.Constant(name) for name in names), of], [])
    return ast.copy_location(call, of)
