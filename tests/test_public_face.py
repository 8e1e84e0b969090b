"""What outsiders rely on: names, their order of arguments, and a light import."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import veravox

PUBLIC = {
    "Augmentation",
    "Calibration",
    "Detector",
    "EXPERTS",
    "GATES",
    "Prediction",
    "Protocol",
    "RawBoost",
    "Recipe",
    "Scores",
    "Segments",
    "SharpnessAware",
    "VeravoxError",
    "Verdict",
    "calibrate",
    "cllr",
    "compare",
    "degrade",
    "equal_error_rate",
    "evaluate",
    "fuse",
    "list_models",
    "list_recipes",
    "load_detector",
    "merge",
    "min_dcf",
    "min_tdcf",
    "protocol_from_paths",
    "read_audio",
    "read_protocol",
    "read_recipe",
    "read_scores",
    "read_segments",
    "recipe",
    "score",
    "score_waveform",
    "sharpness_aware_step",
    "train",
}
ROOMS = [
    "analysis",
    "audio",
    "augment",
    "batches",
    "corpora",
    "degradation",
    "evaluation",
    "models",
    "recipes",
    "scoring",
    "training",
]


def test_the_public_face_is_this_and_nothing_else():
    assert set(veravox.__all__) == PUBLIC
    assert len(PUBLIC) == 38
    for name in PUBLIC - {"EXPERTS", "GATES"}:
        assert callable(getattr(veravox, name))


def test_a_loaded_detector_says_what_it_is_in_one_line_and_scores(samples):
    detector = veravox.load_detector("mile-slim", "cpu")
    assert repr(detector) == (
        "Detector('mile-slim', calibrated, windows of 2 s, experts: lcnn_mel, resnet_mel, resnet_spectrogram)"
    )
    protocol = veravox.protocol_from_paths([samples / "eval/spoof/open-jtalk/u11a46f01f6.flac"])
    scores = detector.score(protocol)
    waveform = veravox.read_audio(protocol.audio_paths()[0])
    assert detector.score_waveform(waveform, 16000).score == pytest.approx(scores.frame["score"][0], abs=1e-6)


@pytest.mark.parametrize("room", ROOMS)
def test_every_name_a_room_lists_can_be_had_and_is_documented(room):
    module = importlib.import_module(f"veravox.{room}")
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, f"{room}.{name} has no docstring"


def test_type_checkers_know_every_public_name_and_refuse_a_misspelt_one(tmp_path):
    uses = ["import veravox"]
    for room in (None, *ROOMS):
        place = f"veravox.{room}" if room else "veravox"
        uses.append(f"import {place}")
        uses += [f"reveal_type({place}.{name})" for name in importlib.import_module(place).__all__]
        uses.append(f"{place}.no_such_name")
    file = tmp_path / "uses.py"
    file.write_text("\n".join(uses), encoding="utf-8")
    root = Path(__file__).parents[1]
    done = subprocess.run(  # in the project's folder, so that its cache is used
        [sys.executable, "-m", "mypy", "--hide-error-context", file], cwd=root, capture_output=True, text=True
    )
    kinds = dict(re.findall(r'uses\.py:(\d+): note: Revealed type is "(.*)"', done.stdout))
    revealed = {number: line for number, line in enumerate(uses, 1) if line.startswith("reveal_type")}
    unknown = {"Any", "def (*Any, **Any) -> Any"}
    assert [line for number, line in revealed.items() if kinds.get(str(number), "Any") in unknown] == []
    assert done.stdout.count("no_such_name") == len(ROOMS) + 1


def test_a_misspelt_name_is_answered_with_the_nearest_one():
    with pytest.raises(AttributeError, match="did you mean 'load_detector'"):
        _ = veravox.load_detektor


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
