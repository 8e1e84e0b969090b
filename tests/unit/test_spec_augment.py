"""SpecAugment blanks what it says, only in training, from draws of its own."""

from __future__ import annotations

import pytest
import torch

from veravox.errors import ConfigurationError
from veravox.models.spec_augment import SpecAugment


def features(batch=4, bins=80, frames=200):
    return torch.randn(batch, bins, frames, generator=torch.Generator().manual_seed(1))


def test_evaluation_changes_nothing():
    given = features()
    assert SpecAugment().eval()(given) is given


def test_blanked_cells_are_whole_bands_and_stretches_at_the_mean_of_their_item():
    given = features()
    result = SpecAugment(seed=3)(given)
    for before, after in zip(given, result):
        blank = after != before
        assert torch.allclose(after[blank], before.mean())
        rows, columns = blank.all(dim=1), blank.all(dim=0)
        assert torch.equal(blank, rows[:, None] | columns[None, :])


def test_widths_and_places_reach_their_limits_and_not_beyond():
    augment = SpecAugment(1, 10, 1, 20, seed=5)
    blank = augment(features(3000, 40, 100)) != features(3000, 40, 100)
    widths = blank.all(dim=2).sum(dim=1)
    lengths = blank.all(dim=1).sum(dim=1)
    assert (widths.min(), widths.max()) == (0, 10)
    assert (lengths.min(), lengths.max()) == (0, 20)
    assert widths.float().mean() == pytest.approx(5, abs=0.3)
    assert blank.all(dim=2).any(dim=0).all()  # every bin is blanked in some item
    assert blank.all(dim=1).any(dim=0).all()


def test_the_same_seed_blanks_the_same_and_leaves_other_draws_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    augment = SpecAugment(seed=7)
    first = augment(features())
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(augment(features()), first)
    assert torch.equal(SpecAugment(seed=7)(features()), first)


def test_short_features_keep_most_of_themselves():
    given = features(50, 4, 3)
    blank = SpecAugment()(given) != given
    assert blank.all(dim=2).sum(dim=1).max() <= 4
    assert not blank.all(dim=1).any()


def test_gradients_pass_what_was_kept():
    given = features().requires_grad_()
    SpecAugment(seed=2)(given).sum().backward()
    assert torch.isfinite(given.grad).all()
    assert (given.grad > 0.5).any()


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigurationError, match="max_time_share"):
        SpecAugment(max_time_share=1.5)
