"""Copy-synthesis in batches: pairs, balance, labels after cropping, and what is told of it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import torch

from tiny import tiny_recipe, tiny_stage
from veravox.audio import window_policy
from veravox.batches import Draw, EpochSampler, Pairing, TrainingWindows
from veravox.batches.copies import SpoofedCopy
from veravox.batches.training import COPIED, MIN_SPOOF_S, RECORDED, SPLICED
from veravox.errors import AugmentationError, ConfigurationError
from veravox.tables import Protocol, read_protocol
from veravox.training import change, fit

RATE_HZ = 16000
LPC = [{"name": "lpc", "probability": 1.0}]
NOISE = [{"name": "gain", "probability": 0.5}, {"name": "noise", "probability": 0.5}]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def train(samples):
    part = read_protocol(samples / "protocol.csv").where(split="train")
    keys = ["domain", "label"]
    return part.with_frame(part.frame.group_by(keys, maintain_order=True).head(2))


def two_domains(each=8):
    rows = [
        {"utterance_id": f"{domain}{label}{index}", "label": label, "domain": domain}
        for domain in "ab"
        for label in ("bonafide", "spoof")
        for index in range(each)
    ]
    return Protocol.from_rows(rows)


def batches(protocol, share, balance=("label", "domain"), ranks=1, size=16, **position):
    pairing = Pairing(protocol, balance, lambda epoch: share, seed=3)
    parts = []
    for rank in range(ranks):
        sampler = EpochSampler(protocol, balance, 64, size, 3, rank, ranks, pairing)
        sampler.set_position(**{"epoch": 1, **position})
        parts.append(list(sampler))
    return [[draw for part in batch for draw in part] for batch in zip(*parts, strict=True)]


def heard_as(protocol, draws):
    """Domain and label of each draw, where copies are spoofs."""
    labels, domains = protocol.frame["label"], protocol.frame["domain"]
    return Counter((domains[d.trial], "spoof" if d.original is not None else labels[d.trial]) for d in draws)


def test_every_copy_has_its_original_in_the_batch_and_no_stratum_gains_or_loses_a_window():
    protocol = two_domains()
    copies = 0
    for plain, paired in zip(batches(protocol, 0.0), batches(protocol, 0.6), strict=True):
        assert not any(draw.original is not None for draw in plain)
        assert heard_as(protocol, paired) == heard_as(protocol, plain)
        assert [draw.position for draw in paired] == [draw.position for draw in plain]
        by_position = {draw.position: draw for draw in paired}
        for draw in paired:
            if draw.original is not None:
                copies += 1
                original = by_position[draw.original]
                assert (original.trial, original.original) == (draw.trial, None)
                assert protocol.frame["label"][draw.trial] == "bonafide"
    assert 10 <= copies <= 28  # of 32 bona fide draws, 60 %


def test_all_spoofs_give_way_where_every_bona_fide_draw_is_copied():
    protocol = two_domains()
    for batch in batches(protocol, 1.0):
        assert sum(draw.original is not None for draw in batch) == 8


def test_where_spoofs_are_few_only_as_many_copies_are_made():
    protocol = two_domains()
    kept = protocol.frame.filter((pl.col("label") == "bonafide") | pl.col("utterance_id").str.ends_with("0"))
    few = protocol.with_frame(kept)
    for plain, paired in zip(batches(few, 0.0, ()), batches(few, 1.0, ()), strict=True):
        assert Counter(few.frame["label"][draw.trial] for draw in plain)["spoof"] == sum(
            draw.original is not None for draw in paired
        )


def test_processes_and_a_resumed_run_make_the_same_copies():
    protocol = two_domains()
    alone = batches(protocol, 0.5)
    together = batches(protocol, 0.5, ranks=2)
    assert [set(batch) for batch in alone] == [set(batch) for batch in together]
    assert batches(protocol, 0.5, batch=2) == alone[2:]


def windows_of(train, synthesis=LPC, augmentation=(), splice=0.0, window_s=0.5, **options):
    policy = window_policy("random", window_s)
    return TrainingWindows(
        train, policy, augmentation, 0, synthesis=synthesis, splice_probability=splice, **options
    )


def first(train, label):
    return train.frame["label"].to_list().index(label)


def test_a_copy_shares_noise_crop_and_masks_with_its_original_and_differs_by_the_synthesis(train):
    data = windows_of(train, augmentation=NOISE, masks=(8, {0: 1.0}))
    trial = first(train, "bonafide")
    for position in range(4):
        original, copy = data[Draw(0, position, trial)], data[Draw(0, 90 + position, trial, position)]
        assert (original.kind, original.target, original.attack_id) == (RECORDED, 1.0, None)
        assert (copy.kind, copy.target, copy.attack_id) == (COPIED, 0.0, "lpc")
        assert copy.pieces == ((0.0, 0.5, "spoof"),)
        assert original.pieces == ((0.0, 0.5, "bonafide"),)
        assert np.array_equal(original.mask_draws, copy.mask_draws)
        loud = [np.convolve(one.samples**2, np.ones(400) / 400, "same") for one in (original, copy)]
        assert np.corrcoef(*loud)[0, 1] > 0.6
        assert np.corrcoef(original.samples, copy.samples)[0, 1] < 0.98


@pytest.mark.parametrize("augmentation", [(), [{"name": "speed", "min_factor": 1.2, "max_factor": 1.2}]])
def test_a_splice_is_labelled_by_what_its_crop_holds(train, augmentation, monkeypatch):
    made = []

    def half(self, waveform, rate, rng):
        changed = waveform.copy()
        changed[: len(changed) // 2] += 10.0  # a mark that survives resampling
        duration_s = len(waveform) / rate
        made.append(duration_s)
        return SpoofedCopy(
            changed, "lpc", ((0.0, duration_s / 2, "spoof"), (duration_s / 2, duration_s, "bonafide"))
        )

    monkeypatch.setattr("veravox.batches.copies.CopySynthesis.copy", half)
    data, trial = windows_of(train, augmentation=augmentation, splice=1.0), first(train, "bonafide")
    seen = set()
    for position in range(40):
        window = data[Draw(0, 90 + position, trial, position)]
        marked = window.samples > 5
        assert window.kind == SPLICED
        if abs(marked.sum() - MIN_SPOOF_S * RATE_HZ) > 30:  # resampling blurs the border
            assert window.target == (marked.sum() < MIN_SPOOF_S * RATE_HZ)
        spoofed_s = sum(end - start for start, end, label in window.pieces if label == "spoof")
        assert spoofed_s == pytest.approx(marked.mean() * 0.5, abs=0.005)
        assert (window.pieces[0][0], window.pieces[-1][1]) == (0.0, 0.5)
        assert all(one[1] == two[0] for one, two in pairwise(window.pieces))
        seen.add(window.target)
    assert seen == {0.0, 1.0}


def test_copies_follow_seed_epoch_and_position_and_their_curriculum(train):
    both = [
        {"name": "lpc", "probability": {0: 0.5, 3: 0.0}},
        {"name": "griffin_lim", "probability": {0: 0.0, 3: 0.5}, "iterations": 1},
    ]
    trial = first(train, "bonafide")

    def copy(epoch, position, **options):
        return windows_of(train, both, **options)[Draw(epoch, position, trial, 0)]

    assert np.array_equal(copy(0, 5).samples, copy(0, 5).samples)
    assert not np.array_equal(copy(0, 5).samples, copy(0, 6).samples)
    assert copy(0, 5).attack_id == "lpc"
    assert copy(0, 5, first_epoch=3).attack_id == copy(3, 5).attack_id == "griffin_lim"


def test_a_copy_that_fails_names_the_synthesis_and_the_file(train, monkeypatch):
    def broken(self, waveform, rate, rng):
        raise ValueError("no pitch")

    monkeypatch.setattr("veravox.augment.synthesis.lpc.LinearPrediction.apply", broken)
    trial = first(train, "bonafide")
    with pytest.raises(AugmentationError, match=r"\.flac.*: synthesis 'lpc' failed: ValueError: no pitch"):
        windows_of(train)[Draw(0, 0, trial, 3)]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("synthesis=[{name: lcp, probability: 0.2}]", "unknown synthesis 'lcp'; did you mean 'lpc'"),
        ("synthesis=[{name: lpc}]", "synthesis 'lpc' needs a probability"),
        ("synthesis=[{name: griffin_lim, probability: 0.2, iteration: 3}]", "did you mean 'iterations'"),
        ("synthesis=[{name: lpc, probability: 1.5}]", "synthesis 'lpc': probability must be in"),
        (
            "synthesis=[{name: lpc, probability: {0: 0.2, 4: 0.7}}, {name: world, probability: 0.4}]",
            "sum to at most 1, not 1.1 .epoch 4.",
        ),
        ("splice_probability=2", "synthesis: splices: probability must be in"),
        ("synthesis=lpc", "'synthesis' must be"),
        ("augmentation=[{name: gian}]", "unknown augmentation 'gian'; did you mean 'gain'"),
        ("augmentation=[{name: gain, min_gain: 3}]", "did you mean 'min_gain_db'"),
    ],
)
def test_a_wrong_entry_is_refused_when_the_recipe_is_read(setting, message):
    with pytest.raises(ConfigurationError, match=message):
        change(tiny_recipe(), [setting])


def test_the_records_of_an_epoch_count_the_labels_that_the_loss_saw(tmp_path, train, samples):
    dev = read_protocol(samples / "protocol.csv").where(split="dev")
    dev = dev.with_frame(dev.frame.group_by("label", maintain_order=True).head(3))
    stages = (tiny_stage("experts", epochs=2, draws=32, domains={"mel": "*", "linear": "*"}),)
    recipe = replace(
        tiny_recipe(stages=stages),
        synthesis=({"name": "lpc", "probability": {0: 0.0, 1: 1.0}},),
        splice_probability=0.5,
    )
    fit(recipe, train, dev, tmp_path / "run", workers=0, say=lambda line: None)
    lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    before, after = (json.loads(line)["drawn"] for line in lines)
    assert before == {"bonafide": 16, "spoof": 16, "copies": 0, "splices": 0, "bonafide_parts_of_splices": 0}
    assert after["copies"] + after["splices"] == 16
    assert after["splices"] > 0
    assert after["bonafide"] == 16 + after["bonafide_parts_of_splices"]
    assert after["bonafide"] + after["spoof"] == 32
