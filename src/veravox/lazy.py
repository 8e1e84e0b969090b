"""Rooms whose names load on first use and are known to type checkers all the same."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def attach(
    package: str, file: str, defined: tuple[str, ...] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` and `__all__` of a package, from the imports of its `if TYPE_CHECKING:` block.

    Type checkers and editors read that block; here it is the table of where names live. The three stand in its
    `else:`, where type checkers do not look, so that a misspelt name is a type error.

    Args:
        package: its `__name__`.
        file: its `__file__`.
        defined: public names that the package's own file defines.
    """
    homes = _homes(ast.parse(Path(file).read_text(encoding="utf-8")))
    rooms = [name for name, (module, _) in homes.items() if module == package]
    names = sorted({*homes, *defined})

    def load(name: str) -> Any:
        if name not in homes:
            from veravox.errors import suggest

            nearest = "" if name.startswith("_") else f"; {suggest(name, names)}"
            raise AttributeError(f"module {package!r} has no attribute {name!r}{nearest}")
        module, original = homes[name]
        if module == package:
            return importlib.import_module(f"{module}.{original}")
        return getattr(importlib.import_module(module), original)

    return load, lambda: names, [name for name in names if name not in rooms]


def _homes(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Public name to module and name there: what the block imports as itself, or under a public name."""
    blocks = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
    return {
        alias.asname: (node.module or "", alias.name)
        for node in imports
        for alias in node.names
        if alias.asname is not None
    }
