"""Masks on features in training: by whom, how often, and the same whenever a batch comes again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tiny import batch_of, tiny_recipe, tiny_spec, tiny_stage
from veravox.audio import window_policy
from veravox.batches import Draw, TrainingWindows
from veravox.errors import ConfigurationError
from veravox.models import DetectorModel
from veravox.tables import read_protocol
from veravox.training import Processes, change
from veravox.training.division import Division
from veravox.training.masking import FeatureMasks


@pytest.fixture
def protocol(samples):
    return read_protocol(samples / "protocol.csv").where(split="train")


def numbers_for(masks, batch=6, seed=0):
    return torch.rand(batch, masks.mask_draws, generator=torch.Generator().manual_seed(seed))


def test_every_window_front_end_and_segment_has_masks_of_its_own_and_waveforms_have_none():
    spec = tiny_spec(
        front_ends={"log_mel": "log_mel", "log_spectrogram": "log_spectrogram", "raw": "waveform"}, segments=2
    )
    masks = FeatureMasks({"max_frequency_bins": 30, "frequency_masks": 1, "time_masks": 0}, spec)
    features = {
        "log_mel": torch.randn(12, 80, 40),
        "log_spectrogram": torch.randn(12, 80, 40),
        "raw": torch.randn(12, 4000),
    }
    masked = masks(features, numbers_for(masks))
    assert masked["raw"] is features["raw"]
    blank = {name: (masked[name] != features[name]).all(dim=2) for name in masks.front_ends}
    assert set(blank) == {"log_mel", "log_spectrogram"}
    patterns = torch.cat(list(blank.values()))
    assert len(torch.unique(patterns, dim=0)) > 20
    nothing = masks(features, torch.zeros(6, masks.mask_draws))
    assert all(torch.equal(nothing[name], features[name]) for name in features)


def test_only_named_front_ends_are_masked():
    masks = FeatureMasks({"front_ends": ["log_spectrogram"]}, tiny_spec())
    features = {"log_mel": torch.randn(6, 40, 51), "log_spectrogram": torch.randn(6, 257, 51)}
    masked = masks(features, numbers_for(masks))
    assert torch.equal(masked["log_mel"], features["log_mel"])
    assert not torch.equal(masked["log_spectrogram"], features["log_spectrogram"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("{time_mask: 2}", "no option 'time_mask'; did you mean 'time_masks'"),
        ("{probabilty: 0.5}", "no option 'probabilty'; did you mean 'probability'"),
        ("{seed: 3}", "no option 'seed'"),
        ("{time_masks: two}", "'time_masks' must be int"),
        ("{max_time_share: 2.0}", "max_time_share must be in"),
        ("{probability: 2}", "spec_augment: probability must be in .0, 1."),
        ("{probability: {first: 0.5}}", "epochs of a probability count from 0"),
        ("{front_ends: [log_mell]}", "no front end 'log_mell'; did you mean 'log_mel'"),
        ("{front_ends: []}", "front_ends is a list of names"),
    ],
)
def test_wrong_options_are_refused_when_the_recipe_is_read(options, message):
    with pytest.raises(ConfigurationError, match=message):
        change(tiny_recipe(), [f"spec_augment={options}"])


def test_a_detector_that_hears_waveforms_alone_has_nothing_to_mask():
    raw = tiny_spec(front_ends={"log_mel": "waveform", "log_spectrogram": "waveform"})
    for options in ({}, {"front_ends": ["log_mel"]}):
        with pytest.raises(ConfigurationError, match="gives the waveform"):
            FeatureMasks(options, raw)


def test_a_windows_numbers_depend_on_seed_epoch_and_position_alone(protocol):
    policy = window_policy("random", 0.5)

    def numbers(seed, epoch, position, trial=0):
        return TrainingWindows(protocol, policy, [], seed, (32, {0: 1.0}))[Draw(epoch, position, trial)].mask_draws

    first = numbers(0, 1, 2)
    assert first.shape == (32,)
    assert np.array_equal(first, numbers(0, 1, 2, trial=3))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not np.array_equal(first, numbers(*other))


def test_the_probability_follows_its_curriculum_over_all_stages(protocol):
    policy = window_policy("random", 0.5)

    def share(epoch, first_epoch):
        windows = TrainingWindows(protocol, policy, [], 0, (4, {2: 0.5, 5: 1.0}), first_epoch=first_epoch)
        return np.mean([windows[Draw(epoch, position, 0)].mask_draws.any() for position in range(60)])

    assert share(1, 0) == 0
    assert 0.2 < share(2, 0) < 0.8
    assert share(1_000_000, 5) == 1  # the first epoch of the second stage
    recipe = tiny_recipe()
    assert [recipe.first_epoch(index) for index in range(2)] == [0, recipe.stages[0].training.epochs]


@pytest.mark.parametrize("stage", [tiny_stage("joint"), tiny_stage("experts")])
@pytest.mark.parametrize("owned", [False, True])
def test_a_batch_that_comes_again_is_masked_alike(stage, owned, protocol):
    torch.manual_seed(0)
    detector = DetectorModel(tiny_spec(segments=2))
    masks = FeatureMasks({"max_frequency_bins": 20}, detector.spec)
    owners = np.arange(8)[:, None] % 2 == np.arange(2)
    division = Division(protocol, (), owners if owned and stage.trains == "experts" else None)
    learner = stage.learner(detector, division, Processes(), torch.device("cpu"), masks)
    windows, targets = torch.randn(8, 8000), torch.arange(8) % 2 * 1.0

    def loss(draws):
        torch.manual_seed(1)  # of dropout
        return stage.loss(learner, batch_of(windows, targets, mask_draws=draws)).item()

    first, again, other = (loss(numbers_for(masks, 8, seed)) for seed in (0, 0, 1))
    assert first == again
    assert len({first, other, loss(torch.zeros(8, masks.mask_draws))}) == 3


def test_an_experts_own_windows_are_judged_whole_where_windows_are_cut_into_segments(protocol):
    torch.manual_seed(0)
    detector = DetectorModel(tiny_spec(segments=2))
    detector.eval()
    windows = torch.randn(6, 8000)
    owned = torch.ones(6, 2, dtype=torch.bool)
    division = Division(protocol, (), owned.numpy())
    learner = tiny_stage("experts").learner(detector, division, Processes(), torch.device("cpu"))
    logits, _ = learner.network(windows, owned, None)
    assert torch.allclose(logits, detector(windows).expert_logits, atol=1e-5)
