"""Imports point up the list of rooms, never down it and never sideways."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import veravox

SOURCE = Path(veravox.__file__).parent
FLOORS = [
    {"errors"},
    {"files"},
    {"tables", "registry", "pages"},
    {"audio"},
    {"corpora", "augment", "evaluation", "models"},
    {"batches"},
    {"scoring"},
    {"training"},
    {"analysis"},
    {"recipes"},
    {"apps"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILES = [
    path
    for path in SOURCE.rglob("*.py")
    if path.relative_to(SOURCE).as_posix() not in ("__init__.py", "__main__.py")
]
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "misc"}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> list[tuple[int, str]]:
    """Every absolute module name a file imports, at its top or inside a function, with the line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: write imports in full"
            module = node.module or ""
            found += [(node.lineno, f"{module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_point_up_the_list_of_rooms(path):
    here = room_of(path)
    for line, module in imported_modules(path):
        parts = module.split(".")
        if parts[0] != "veravox" or len(parts) < 2 or parts[1] == "__version__":
            continue
        there = parts[1]
        assert there in FLOOR_OF, f"{path}:{line} imports {module}: no such room"
        allowed = there == here or FLOOR_OF[there] < FLOOR_OF[here]
        assert allowed, f"{path}:{line}: {here} may not import {there}"


def test_every_file_lies_in_a_room_of_the_plan():
    assert {room_of(path) for path in FILES} <= set(FLOOR_OF)


def test_no_file_is_named_for_not_having_a_home():
    assert not [path for path in FILES if path.stem in FORBIDDEN_NAMES]


def test_evaluation_does_not_import_torch():
    for path in FILES:
        if room_of(path) in ("evaluation", "audio", "tables", "corpora", "augment"):
            assert not [module for _, module in imported_modules(path) if module.split(".")[0] == "torch"], path


def test_torchaudio_is_nowhere():
    for path in FILES:
        assert not [module for _, module in imported_modules(path) if module.split(".")[0] == "torchaudio"], path
