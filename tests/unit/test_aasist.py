"""AASIST: the official weights, and what they must say."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings, strategies as st

import veravox
from veravox.apps.cli import main
from veravox.errors import CheckpointError, ConfigurationError
from veravox.models import Checkpoint, DetectorModel, DetectorSpec, read_checkpoint, write_checkpoint
from veravox.models.experts.aasist import aasist_names
from veravox.models.import_weights import import_checkpoint

OFFICIAL = {"aasist": ("AASIST", 297_866), "aasist_l": ("AASIST-L", 85_306)}


def first_window(clip: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.tile(clip, 64600 // len(clip) + 1)[:64600])[None]


def detector_of(expert: str, window_s: float = 64600 / 16000, **options: object) -> DetectorModel:
    description = {
        "front_ends": {"waveform": "waveform"},
        "experts": {expert: {"front_end": "waveform", "name": expert, **options}},
        "window_s": window_s,
    }
    return DetectorModel(DetectorSpec.parse(description)).eval()


@pytest.mark.parametrize("expert", OFFICIAL)
def test_official_weights_give_the_official_logits_on_every_clip(expert, material):
    name, parameters = OFFICIAL[expert]
    golden = json.loads((material / "aasist" / "golden_logits.json").read_text())
    detector = import_checkpoint(material / "aasist" / f"{name}.pth", expert).model
    assert sum(parameter.numel() for parameter in detector.parameters()) == parameters
    for clip, expected in golden.items():
        if clip.startswith("synthetic"):
            time_s = np.arange(64600) / 16000
            waveform = 0.5 * np.sin(2 * np.pi * 220 * time_s) + 0.1 * np.sin(2 * np.pi * 3000 * time_s)
            waveform = waveform.astype(np.float32)
        else:
            waveform, _ = soundfile.read(material / clip, dtype="float32")
        with torch.inference_mode():
            output = detector(first_window(waveform))
        logits = output.expert_outputs[expert].class_logits[0].numpy()
        assert np.abs(logits - expected[name]).max() < 1e-4, clip
        assert output.logits.item() == pytest.approx(logits[1] - logits[0], abs=1e-5)


def test_imported_weights_score_files_on_the_ordinary_path(material, tmp_path):
    golden = json.loads((material / "aasist" / "golden_logits.json").read_text())
    clip = "audio/moef_toyset/2_seg.wav"
    checkpoint = import_checkpoint(material / "aasist" / "AASIST-L.pth", "aasist_l")
    detector = veravox.load_detector(write_checkpoint(checkpoint, tmp_path))
    scores = veravox.score(detector, veravox.protocol_from_paths([str(material / clip)]), policy="first")
    spoof, bona_fide = golden[clip]["AASIST-L"]
    assert scores.frame["score"].item() == pytest.approx(bona_fide - spoof, abs=1e-4)


@pytest.fixture
def foreign_file(tmp_path):
    """A file as the official code would save it, of random weights."""
    ours = detector_of("aasist_l").mixture.experts["aasist_l"].state_dict()
    weights = {theirs: ours[name] for theirs, name in aasist_names().items()}
    assert len(weights) == len(ours) == 229
    path = tmp_path / "foreign.pth"
    torch.save(weights, path)
    return path


def change(path, **weights: torch.Tensor | None):
    content = torch.load(path, weights_only=True)
    content.update({name: tensor for name, tensor in weights.items() if tensor is not None})
    torch.save({name: tensor for name, tensor in content.items() if weights.get(name, tensor) is not None}, path)


def test_an_imported_checkpoint_is_one_that_veravox_reads(foreign_file, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["import-checkpoint", str(foreign_file), "--expert", "aasist_l", "--out", str(tmp_path / "model")])
    assert stopped.value.code == 0
    assert "85,306 parameters" in capsys.readouterr().out
    checkpoint = read_checkpoint(tmp_path / "model")
    assert checkpoint.model.spec.window_samples == 64600
    assert checkpoint.model.spec.level_dbfs is None
    official = torch.load(foreign_file, weights_only=True)
    imported = checkpoint.model.mixture.experts["aasist_l"].state_dict()
    assert all(torch.equal(official[theirs], imported[ours]) for theirs, ours in aasist_names().items())


@pytest.mark.parametrize(
    ("weights", "expert", "named"),
    [
        ({"out_layer.bias": None}, "aasist_l", "missing: 'out_layer.bias'"),
        ({"extra.weight": torch.zeros(2)}, "aasist_l", "not known: 'extra.weight'"),
        ({"out_layer.bias": torch.zeros(3)}, "aasist_l", r"out_layer.bias \(3,\) not \(2,\)"),
        ({}, "aasist", r"pos_S \(1, 23, 24\) not \(1, 23, 64\)"),
        ({"pos_S": torch.full((1, 23, 24), torch.nan)}, "aasist_l", "not finite in 'pos_S'"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(weights, expert, named, foreign_file):
    change(foreign_file, **weights)
    with pytest.raises(CheckpointError, match=named):
        import_checkpoint(foreign_file, expert)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"\x80\x02cos\nsystem\n."])
def test_a_file_that_is_no_state_dict_is_refused_and_runs_nothing(content, tmp_path):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="no PyTorch file of plain weights"):
        import_checkpoint(path, "aasist")


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_read_never_a_crash(data):
    content = io.BytesIO()
    torch.save({"out_layer.weight": torch.ones(2, 3), "out_layer.bias": torch.ones(2)}, content)
    damaged = bytearray(content.getvalue())
    for _ in range(data.draw(st.integers(1, 20))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.pth"
        path.write_bytes(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
        with pytest.raises(CheckpointError):  # even whole, it lacks most weights
            import_checkpoint(path, "aasist_l")


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("entry", ["", "state_dict", "model"])
def test_the_wrappings_of_other_peoples_checkpoints_are_taken_off_and_named(foreign_file, prefix, entry):
    plain = import_checkpoint(foreign_file, "aasist_l").model.state_dict()
    weights = torch.load(foreign_file, weights_only=True)
    wrapped = {prefix + name: tensor for name, tensor in weights.items() if "num_batches" not in name}
    torch.save({entry: wrapped, "optimizer": {"lr": 1e-4}, "epoch": 3} if entry else wrapped, foreign_file)
    imported = import_checkpoint(foreign_file, "aasist_l")
    names = [name for name in plain if "num_batches" not in name]
    assert all(torch.equal(plain[name], imported.model.state_dict()[name]) for name in names)
    assert (imported.provenance["prefix"], imported.provenance.get("entry", "")) == (prefix, entry)


def test_two_state_dicts_in_one_file_and_half_prefixed_names_are_refused(foreign_file):
    weights = torch.load(foreign_file, weights_only=True)
    torch.save({"model": weights, "ema": weights}, foreign_file)
    with pytest.raises(CheckpointError, match=r"several state dicts \(model, ema\)"):
        import_checkpoint(foreign_file, "aasist_l")
    mixed = {("module." if index % 2 else "") + name: item for index, (name, item) in enumerate(weights.items())}
    torch.save(mixed, foreign_file)
    with pytest.raises(CheckpointError, match=r"not known: 'module\."):
        import_checkpoint(foreign_file, "aasist_l")


def test_more_than_a_state_dict_and_an_unknown_expert_are_refused(tmp_path):
    path = tmp_path / "training.pth"
    torch.save({"model": {"a": torch.zeros(1), "lr": 1e-4}, "epoch": 3}, path)
    with pytest.raises(CheckpointError, match="more than a state dict"):
        import_checkpoint(path, "aasist")
    with pytest.raises(ConfigurationError, match="did you mean 'aasist'"):
        import_checkpoint(path, "asist")


def test_aasist_is_tied_to_its_window_unless_told_otherwise():
    with pytest.raises(ConfigurationError, match=r"tied to windows of 4\.0375 s"):
        detector_of("aasist", window_s=3.0)
    detector = detector_of("aasist_l", window_s=0.3, any_length=True)
    assert detector(torch.randn(2, 4800)).logits.shape == (2,)
    with pytest.raises(ConfigurationError, match="at least 2315 samples"):
        detector_of("aasist", window_s=0.1, any_length=True)


def test_aasist_refuses_spectral_features():
    description = {
        "front_ends": {"mel": "log_mel"},
        "experts": {"a": {"front_end": "mel", "name": "aasist"}},
        "window_s": 64600 / 16000,
    }
    with pytest.raises(ConfigurationError, match="listens to the front end 'waveform'"):
        DetectorModel(DetectorSpec.parse(description))


def test_writing_and_reading_keeps_scores_to_the_bit(tmp_path):
    detector = detector_of("aasist_l", window_s=0.3, any_length=True)
    windows = torch.randn(2, 4800)
    again = read_checkpoint(write_checkpoint(Checkpoint(detector), tmp_path)).model
    with torch.inference_mode():
        assert torch.equal(detector(windows).logits, again(windows).logits)
