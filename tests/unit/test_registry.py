"""Registries answer a wrong word with the nearest right one, before anything is built."""

from __future__ import annotations

import pytest

from veravox.errors import ConfigurationError
from veravox.registry import Registry, Spec


class Thing:
    def __init__(self, size: int, rate: float = 0.5, sizes: tuple[int, ...] = (1, 2), name: str = "x") -> None:
        self.size, self.rate, self.sizes = size, rate, sizes


@pytest.fixture
def things():
    registry = Registry("thing", "veravox.corpora")
    registry.register("thing")(Thing)
    return registry


def test_a_spec_builds_the_named_class_with_its_options(things):
    thing = things.build(Spec.parse({"name": "thing", "rate": 1}), size=4, unused=9)
    assert (thing.size, thing.rate) == (4, 1)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("thnig", "unknown thing 'thnig'; did you mean 'thing'?"),
        ({"name": "thing", "size": 3, "raet": 1.0}, "has no option 'raet'; did you mean 'rate'?"),
        ({"name": "thing", "size": "three"}, "'size' must be int, not 'three'"),
        ({"name": "thing", "size": True}, "'size' must be int"),
        ({"name": "thing", "size": 3, "sizes": [1, "b"]}, "'sizes' must be"),
        ({"name": "thing"}, "needs the option 'size'"),
        (["thing"], "expected a name"),
    ],
)
def test_a_wrong_spec_is_answered_with_the_thing_and_the_remedy(things, spec, message):
    with pytest.raises(ConfigurationError, match=message.replace("?", r"\?")):
        things.build(Spec.parse(spec))


def test_what_the_caller_supplies_a_spec_may_not_set(things):
    with pytest.raises(ConfigurationError, match="'size' is set by the detector"):
        things.build(Spec("thing", {"size": 3}), size=4)


def test_a_spec_survives_its_plain_form():
    spec = Spec("thing", {"size": 3})
    assert Spec.parse(spec.to_dict()) == spec
