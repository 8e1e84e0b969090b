from pathlib import Path

import numpy as np
import pytest
import torch

from veravox.audio import window_policy
from veravox.errors import ConfigurationError
from veravox.models.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from veravox.models.detector import DetectorModel, DetectorSpec
from veravox.models.familiarity import Familiarity
from veravox.scoring.prediction import predict
from veravox.scoring.verdict import VerdictRule
from veravox.tables import Calibration

SAMPLES = Path(__file__).parents[2] / "samples"

PARTS = {
    "front_ends": {"lfcc": {"name": "lfcc"}},
    "experts": {"one": {"front_end": "lfcc", "name": "lcnn", "width": 0.25}},
    "window_s": 1.0,
}


def plane(count, generator):
    """Features that fill two of twenty dimensions, and a little noise."""
    directions = torch.linalg.qr(torch.randn(20, 20, generator=generator)).Q[:2]
    return torch.randn(count, 2, generator=generator) @ directions + 0.01 * torch.randn(
        count, 20, generator=generator
    )


def test_what_leaves_the_plane_of_training_is_strange():
    generator = torch.Generator().manual_seed(0)
    features = plane(3000, generator)
    familiarity = Familiarity(20, directions=2)
    assert familiarity(features).max() < 0.001  # nothing is strange before it is fitted
    familiarity.fit(features[:2000])
    known, strange = familiarity(features[2000:]), familiarity(torch.randn(500, 20, generator=generator))
    assert known.quantile(0.99) < strange.quantile(0.01)


def test_the_distance_is_the_root_mean_square_outside_the_directions():
    familiarity = Familiarity(4, directions=1)
    familiarity.spread.fill_(2.0)
    familiarity.directions[0, 0] = 1.0
    # In units of the spread (1, 2, 0, 0): the first is explained, the second is not.
    assert familiarity(torch.tensor([[2.0, 4.0, 0.0, 0.0]])).item() == pytest.approx(np.sqrt(4 / 4))


def test_fitting_leaves_the_random_state_alone_and_repeats():
    features = plane(500, torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second = Familiarity(20, 2), Familiarity(20, 2)
    first.fit(features)
    second.fit(features)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.directions, second.directions)


def test_fewer_windows_than_directions_are_enough():
    features = torch.randn(5, 20, generator=torch.Generator().manual_seed(2))
    familiarity = Familiarity(20, directions=8)
    familiarity.fit(features)
    assert familiarity(features).max() < 0.05  # their own directions explain them


def test_a_name_that_is_no_front_end_is_refused():
    with pytest.raises(ConfigurationError, match="familiarity names the front end 'lfc'"):
        DetectorSpec.parse(PARTS | {"familiarity": "lfc"})


def test_a_strange_recording_makes_the_verdict_uncertain(tmp_path):
    torch.manual_seed(0)
    model = DetectorModel(DetectorSpec.parse(PARTS | {"familiarity": "lfcc"})).eval()
    model.familiarity.spread.fill_(1.0)
    model.familiarity.centre.fill_(100.0)  # whatever is heard is far from there
    plain = Calibration(scale=1.0, offset=50.0)
    write_checkpoint(Checkpoint(model, plain, {"max_strangeness": 5.9}), tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    policy, path = window_policy("sliding", 1.0), str(next(SAMPLES.rglob("*.flac")))
    (prediction,) = predict(checkpoint.model, [path], policy)
    assert prediction.mean_strangeness == pytest.approx(6.0)
    verdict = VerdictRule(checkpoint, policy).verdict(prediction, "a", path)
    assert (verdict.verdict, [warning.test for warning in verdict.warnings]) == ("uncertain", ["unfamiliar"])
    relaxed = VerdictRule(Checkpoint(checkpoint.model, plain, {"max_strangeness": 6.1}), policy)
    assert relaxed.verdict(prediction, "a", path).verdict == "bonafide"
