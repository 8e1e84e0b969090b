"""What every named experiment promises."""

from __future__ import annotations

import pytest
import yaml

from veravox.augment import build_chain
from veravox.models import Detector
from veravox.recipes import RECIPES, recipe
from veravox.training import Recipe


@pytest.mark.parametrize("name", RECIPES.names())
def test_a_recipe_is_named_described_and_survives_yaml(name):
    one = recipe(name)
    assert one.name == name
    assert one.description
    assert "\n" not in one.description
    assert Recipe.parse(yaml.safe_load(one.to_yaml())).to_dict() == one.to_dict()


@pytest.mark.parametrize("name", RECIPES.names())
def test_a_recipe_builds_its_detector_and_its_augmentation(name):
    one = recipe(name)
    detector = Detector(one.detector)
    assert detector.expert_names == list(one.detector.experts)
    build_chain(one.augmentation)
