"""Imports point up the list of rooms, never down it and never sideways."""

from __future__ import annotations

import ast
from pathlib import Path

import veravox

SOURCE = Path(veravox.__file__).parent
FLOORS = [
    {"errors"},
    {"files", "lazy", "worker_pool"},
    {"tables", "registry", "pages"},
    {"audio"},
    {"corpora", "augment", "evaluation", "models"},
    {"batches"},
    {"scoring"},
    {"degradation", "training"},
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


def wrong_imports(path: Path) -> list[str]:
    """Imports of a file that point down the list of rooms, sideways, or to no room, each with the remedy."""
    here, problems = room_of(path), []
    for line, module in imported_modules(path):
        parts = module.split(".")
        if parts[0] != "veravox" or len(parts) < 2 or parts[1] == "__version__":
            continue
        there, where = parts[1], f"{path.relative_to(SOURCE).as_posix()}:{line}"
        if there not in FLOOR_OF:
            problems.append(f"{where} imports {module}: no such room")
        elif there != here and FLOOR_OF[there] >= FLOOR_OF[here]:
            problems.append(f"{where}: {here} may not import {there}")
    return problems


def test_imports_point_up_the_list_of_rooms():
    assert [problem for path in FILES for problem in wrong_imports(path)] == []


def test_plug_ins_import_no_plug_in_of_their_kind():
    folders = [SOURCE / "models" / kind for kind in ("front_ends", "experts", "gates", "routers")]
    offenders = []
    for folder in folders:
        plug_ins = {path.stem for path in folder.glob("*.py")} - {"__init__", "sparse"}
        prefix = f"veravox.models.{folder.name}."
        for path in folder.glob("*.py"):
            for line, module in imported_modules(path):
                if module.startswith(prefix) and module.removeprefix(prefix).split(".")[0] in plug_ins:
                    offenders.append(f"{path.relative_to(SOURCE).as_posix()}:{line} imports {module}")
    assert offenders == [], "what two of them need lies in models/layers"


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
