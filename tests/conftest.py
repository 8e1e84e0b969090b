"""What all tests share: the bundled samples, shared material where present, one CPU thread."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Examples that take long on a busy machine are no defect.
settings.register_profile("veravox", deadline=None)
settings.load_profile("veravox")

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def samples() -> Path:
    """The bundled clips with their protocol."""
    return ROOT / "samples"


@pytest.fixture(scope="session")
def material() -> Path:
    """Official weights, protocols and score files; tests skip where they are absent."""
    folder = SHARED / "material"
    if not folder.is_dir():
        pytest.skip("the shared reference material is not on this machine")
    return folder


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The training corpus; tests skip where it is absent."""
    folder = SHARED / "corpus"
    if not folder.is_dir():
        pytest.skip("the training corpus is not on this machine")
    return folder
