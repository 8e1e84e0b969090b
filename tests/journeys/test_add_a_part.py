"""The files of docs/add-a-part.md, dropped into a copy of the package, keep the contracts of their kind."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import veravox

ROOT = Path(__file__).parents[2]
PACKAGE = Path(veravox.__file__).parent
PAGE = (ROOT / "docs/add-a-part.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`src/veravox/(\S+\.py)`\n\n```python\n(.*?)^```", PAGE, re.M | re.S))
KINDS = {"models/experts", "models/front_ends", "models/gates", "models/routers", "augment", "corpora", "recipes"}


def test_the_page_has_one_complete_file_of_every_kind():
    assert {str(Path(path).parent) for path in FILES} == KINDS


def test_every_file_of_the_page_passes_the_contracts_of_its_kind(tmp_path):
    copy = tmp_path / "src" / "veravox"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("bundled", "__pycache__"))
    (copy / "bundled").symlink_to(PACKAGE / "bundled")
    for path, content in FILES.items():
        assert not (copy / path).exists()
        (copy / path).write_text(content, encoding="utf-8")
    names = [Path(path).stem for path in FILES]
    contracts = [f"tests/contracts/test_{kind}.py" for kind in ("models", "augmentations", "corpora", "recipes")]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-rp", "-p", "no:cacheprovider", "-k", " or ".join(names)),
            *("-o", f"pythonpath={copy.parent} tests", *contracts),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(copy.parent)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    passed = [line for line in done.stdout.splitlines() if line.startswith("PASSED")]
    for name in names:
        assert any(re.search(rf"[\[-]{name}[\]-]", line) for line in passed), f"no contract ran on {name}"
