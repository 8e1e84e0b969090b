"""Features computed once: equal to those computed anew, kept over runs, refused where they would be wrong."""

from __future__ import annotations

import collections
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from veravox.audio import read_audio, window_policy
from veravox.batches import EpochSampler, TrainingWindows
from veravox.errors import ConfigurationError, TrainingError
from veravox.evaluation import read_scores
from veravox.models import DetectorModel, DetectorSpec
from veravox.recipes import recipe
from veravox.scoring import score
from veravox.tables import Protocol, read_protocol
from veravox.training import change, fit, fit_crossed
from veravox.training.feature_cache import CachedWindows, DevWindows, FeatureCache
from veravox.training.track import no_progress

BLOCKS = {"name": "whisper_blocks", "size": 64, "blocks": 1, "pooling": "statistics"}


def spec(front_end: dict[str, object] | None = None, gate: object = "fixed") -> DetectorSpec:
    expert = {"front_end": "heard", "name": "mlp", "hidden": [8]}
    plain = {"front_ends": {"heard": front_end or BLOCKS}, "experts": {"one": expert, "two": expert}}
    return DetectorSpec.parse({**plain, "gate": gate, "window_s": 0.5, "level_dbfs": -26.0})


@pytest.fixture(scope="module")
def parts(samples) -> tuple[Protocol, Protocol]:
    protocol = read_protocol(samples / "protocol.csv")
    few = []
    for split, count in (("train", 8), ("dev", 4)):
        part = protocol.where(split=split)
        few.append(part.with_frame(part.frame.group_by("label", maintain_order=True).head(count)))
    return few[0], few[1]


def windows_of(protocol: Protocol, augmentation: list[dict[str, object]] | None = None) -> TrainingWindows:
    return TrainingWindows(protocol, window_policy("random", 0.5), augmentation or [], 0)


def test_judging_kept_features_is_judging_windows():
    torch.manual_seed(0)
    for gate in ("fixed", "uniform", "attention", {"name": "features_conv"}):
        front_end = {"name": "log_mel"} if gate == {"name": "features_conv"} else BLOCKS
        expert = {"front_end": "heard", "name": "resnet" if gate == {"name": "features_conv"} else "mlp"}
        plain = {"front_ends": {"heard": front_end}, "experts": {"one": expert, "two": expert}}
        detector = DetectorModel(DetectorSpec.parse({**plain, "gate": gate, "window_s": 0.5})).eval()
        windows = 0.1 * torch.randn(3, 8000)
        with torch.inference_mode():
            direct, kept = detector(windows), detector.predict_flat(detector.flat_features(windows))
        torch.testing.assert_close(kept.logits, direct.logits, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(kept.gate_weights, direct.gate_weights, atol=1e-6, rtol=1e-6)


def test_a_gate_that_hears_the_waveform_cannot_judge_kept_features():
    detector = DetectorModel(spec(gate="input_linear")).eval()
    with pytest.raises(ConfigurationError, match="cache_copies=0"):
        detector.predict_flat(detector.flat_features(torch.zeros(2, 8000)))


def test_rows_are_the_features_of_the_first_window_and_are_computed_once(parts, tmp_path, monkeypatch):
    train, _ = parts
    detector = DetectorModel(spec())
    kept = CachedWindows(windows_of(train), FeatureCache(detector, tmp_path), 2, 1.0, 0, no_progress)
    policy = window_policy("first", 0.5)
    for trial, path in enumerate(train.audio_paths()):
        window = torch.from_numpy(policy.cut(read_audio(path, 16000)))
        with torch.inference_mode():
            expected = detector.flat_features(window)[0]
        torch.testing.assert_close(torch.from_numpy(kept.features[trial]), expected, atol=1e-5, rtol=1e-5)
    assert not np.array_equal(kept.features[: len(train)], kept.features[len(train) :])  # another crop

    def never(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(DetectorModel, "flat_features", never)
    shuffled = train.with_frame(train.frame.reverse())
    again = CachedWindows(windows_of(shuffled), FeatureCache(detector, tmp_path), 2, 1.0, 0, no_progress)
    assert np.array_equal(again.features[: len(train)], kept.features[: len(train)][::-1])
    dev_like = DevWindows(train.audio_paths(), window_policy("first", 0.5))
    FeatureCache(detector, tmp_path).rows(dev_like.keys(), dev_like, 0, no_progress, "features")


def test_other_weights_and_another_noise_have_rows_of_their_own(parts, tmp_path):
    train, _ = parts
    folders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        folders.append(FeatureCache(DetectorModel(spec()), tmp_path).folder)
    assert folders[0] != folders[1]
    torch.manual_seed(0)
    cache = FeatureCache(DetectorModel(spec()), tmp_path)
    noise = [{"name": "noise", "min_snr_db": 5.0, "max_snr_db": 6.0}]
    plain = CachedWindows(windows_of(train), cache, 2, 1.0, 0, no_progress).features
    noisy = CachedWindows(windows_of(train, noise), cache, 2, 1.0, 0, no_progress).features
    assert np.array_equal(plain[: len(train)], noisy[: len(train)])
    assert not np.array_equal(plain[len(train) :], noisy[len(train) :])
    half = CachedWindows(windows_of(train, noise), cache, 2, 0.5, 0, no_progress).features
    same = (half[: len(train)] == half[len(train) :]).all(axis=1)
    assert 0 < same.sum() < len(train)
    assert np.array_equal(half[len(train) :][~same], noisy[len(train) :][~same])


def test_a_damaged_file_is_named_and_a_front_end_that_learns_is_refused(parts, tmp_path):
    train, _ = parts
    detector = DetectorModel(spec())
    cache = FeatureCache(detector, tmp_path)
    CachedWindows(windows_of(train), cache, 1, 1.0, 0, no_progress)
    file = next(cache.folder.iterdir())
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(TrainingError, match=r"is damaged .* remove it"):
        CachedWindows(windows_of(train), FeatureCache(detector, tmp_path), 1, 1.0, 0, no_progress)
    learning = DetectorModel(spec({**BLOCKS, "train": "fine_tuned"}))
    with pytest.raises(TrainingError, match="frozen"):
        FeatureCache(learning, tmp_path)


def test_nested_balance_draws_labels_alike_and_sources_alike_within_them():
    labels = ["bonafide"] * 30 + ["spoof"] * 12
    sources = ["a"] * 29 + ["b"] + ["c"] * 4 + ["d"] * 4 + ["e"] * 4
    rows = zip(labels, sources, strict=True)
    frame = pl.DataFrame(
        [(f"u{index}", label, source) for index, (label, source) in enumerate(rows)],
        schema=["utterance_id", "label", "source"],
        orient="row",
    )
    sampler = EpochSampler(Protocol(frame), ("label", "source"), 120, 12, 0, nested=True)
    drawn = collections.Counter(sources[index] for index in sampler.order(0))
    assert drawn == {"a": 30, "b": 30, "c": 20, "d": 20, "e": 20}
    assert not np.array_equal(sampler.order(0), sampler.order(1))
    assert np.array_equal(sampler.order(3), sampler.order(3))
    by_root = EpochSampler(Protocol(frame), ("label", "source"), 12000, 12, 0, nested=True, power=0.5)
    drawn = collections.Counter(sources[index] for index in by_root.order(0))
    assert drawn["a"] + drawn["b"] == 6000
    assert drawn["a"] / drawn["b"] == pytest.approx(29**0.5, rel=0.15)
    assert drawn["c"] == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize(
    "setting",
    ["training.cache_copies=-1", "training.cache_share=1.5", "training.size_power=2", "stages.experts.nested=1"],
)
def test_settings_that_cannot_be_are_refused(setting):
    with pytest.raises(ConfigurationError):
        change(recipe("veravox_small"), [setting])


def small_recipe():
    one = recipe("veravox_small")
    plain = one.detector.to_dict()
    plain["front_ends"]["whisper_tiny"] = BLOCKS
    settings = ["training.epochs=2", "training.draws=64", "training.batch_size=8"]
    return change(replace(one, detector=DetectorSpec.parse(plain), augmentation=()), settings)


def test_a_cached_training_scores_what_scoring_scores_and_repeats_exactly(parts, tmp_path):
    torch.set_num_threads(1)
    train, dev = parts
    whole = fit(small_recipe(), train, dev, tmp_path / "whole", workers=0, say=lambda line: None)
    written = read_scores(tmp_path / "whole" / "dev_scores.csv").frame["score"].to_list()
    anew = score(whole, dev, workers=0).frame["score"].to_list()
    np.testing.assert_allclose(anew, written, atol=1e-4)
    again = fit(small_recipe(), train, dev, tmp_path / "again", workers=0, say=lambda line: None)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name


def test_cross_fitting_scores_every_trial_without_its_source_and_sets_growth_and_thresholds(samples, tmp_path):
    torch.set_num_threads(1)
    protocol = read_protocol(samples / "protocol.csv")
    train, dev = protocol.where(split="train"), protocol.where(split="dev")
    said: list[str] = []
    checkpoint = fit_crossed(small_recipe(), train, dev, tmp_path, folds=2, workers=0, say=said.append)
    scores = read_scores(tmp_path / "left_out_scores.csv")
    assert set(scores.frame["utterance_id"]) == set(train.utterance_ids) | set(dev.utterance_ids)
    assert sum("without fold" in line for line in said) == 2
    assert checkpoint.calibration is not None
    assert "never met" in checkpoint.calibration.rule
    assert (tmp_path / "without-2" / "detector.safetensors").is_file()
    files = list(Path(tmp_path / "features").iterdir())
    assert len(files) == 1  # the folds share their features
