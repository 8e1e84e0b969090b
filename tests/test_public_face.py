"""What outsiders rely on: names, their order of arguments, and a light import."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import veravox

PUBLIC = {
    "Calibration",
    "Protocol",
    "Scores",
    "Segments",
    "evaluate",
    "load_detector",
    "protocol_from_paths",
    "read_protocol",
    "score",
    "score_waveform",
}
ROOMS = [
    "analysis",
    "audio",
    "augment",
    "batches",
    "corpora",
    "evaluation",
    "models",
    "recipes",
    "scoring",
    "training",
]


def test_the_public_face_is_this_and_nothing_else():
    assert set(veravox.__all__) == PUBLIC
    for name in PUBLIC:
        assert callable(getattr(veravox, name))


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_a_room_lists_can_be_had_and_is_documented(room):
    module = importlib.import_module(f"veravox.{room}")
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{room}.{name} has no docstring"


def test_importing_veravox_or_its_command_line_imports_nothing_heavy():
    code = "import sys, veravox, veravox.apps.cli as c; c.build(); print(*sys.modules)"
    source = str(Path(veravox.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": source}
    )
    assert not {"torch", "numpy", "polars", "matplotlib", "scipy", "av"} & set(done.stdout.split())


def test_the_arguments_of_the_interface_are_accepted_by_name():
    inspect.signature(veravox.load_detector).bind(source=None, device="auto")
    inspect.signature(veravox.score).bind("detector", "protocol", policy="sliding", workers=2, on_error="collect")
    inspect.signature(veravox.score_waveform).bind("detector", "waveform", 16000)
    inspect.signature(veravox.evaluate).bind("scores", "protocol", by=["attack_id"], bootstrap=1000)
    inspect.signature(veravox.evaluation.equal_error_rate).bind("bona_fide", "spoof")
