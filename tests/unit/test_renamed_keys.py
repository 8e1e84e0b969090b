"""Checkpoints of format 1 load under today's parameter names; the bundled ones are among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from veravox.errors import ConfigurationError
from veravox.models import EXPERTS, ROUTERS, Checkpoint, read_checkpoint, write_checkpoint
from veravox.models.renamed_keys import with_current_keys
from veravox.registry import Spec
from veravox.scoring.detector import bundled_detectors

FORMAT_1 = json.loads((Path(__file__).parents[1] / "format_1_parameters.json").read_text(encoding="utf-8"))
"""Detectors, and names and shapes of their parameters, as the last version with format 1 wrote them."""


def written(folder, description, version=1):
    """A checkpoint file as that version wrote it, every tensor filled with numbers of its own."""
    weights = {
        name: torch.full(shape, index + 1.0) if shape else torch.tensor(index)
        for index, (name, shape) in enumerate(description["shapes"].items())
    }
    header = {"format_version": version, "detector": description["detector"]}
    path = folder / "detector.safetensors"
    path.write_bytes(safetensors.torch.save(weights, {"veravox": json.dumps(header)}))
    return path, weights


@pytest.mark.parametrize("description", FORMAT_1, ids=lambda each: each["detector"]["gate"]["name"])
def test_every_weight_of_a_format_1_file_arrives_in_order_and_is_written_back_under_its_new_name(
    description, tmp_path
):
    path, weights = written(tmp_path, description)
    checkpoint = read_checkpoint(path)
    state = checkpoint.model.state_dict()
    assert len(state) == len(weights)
    for (old, value), (new, loaded) in zip(weights.items(), state.items(), strict=True):
        assert torch.equal(loaded.float(), value.float()), f"{old} arrived in {new}"
    again = read_checkpoint(write_checkpoint(Checkpoint(checkpoint.model), tmp_path / "again"))
    assert list(again.model.state_dict()) == list(state)


def test_bundled_detectors_hold_old_names_and_load_them():
    old = set()
    for path in bundled_detectors().values():
        detector = read_checkpoint(path).model
        names = set(safetensors.torch.load_file(path))
        old |= names - set(detector.state_dict())
        assert (
            with_current_keys(dict.fromkeys(names, torch.zeros(1)), detector).keys()
            == detector.state_dict().keys()
        )
    assert "mixture.gate.identity" in old


@pytest.mark.parametrize(
    ("registry", "spec", "old", "supplied"),
    [
        (EXPERTS, Spec("aasist_l", {"shares": (0.4, 0.5, 0.6)}), "shares", {"feature_shape": (64600,)}),
        (ROUTERS, Spec("confidence", {"most": 2}), "most", {"experts": 3}),
    ],
)
def test_options_of_earlier_recipes_are_read_under_their_old_names(registry, spec, old, supplied):
    built = registry.build(spec, **supplied)
    assert getattr(built, "max_experts", 2) == 2
    if old == "shares":
        assert built.graph.pool_temporal.ratio == 0.5
    new = registry[spec.name].renamed_options[old]
    both = Spec(spec.name, {**spec.options, new: spec.options[old]})
    with pytest.raises(ConfigurationError, match=f"'{old}' is now '{new}'; give one of them"):
        registry.build(both, **supplied)
