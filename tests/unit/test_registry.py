"""Registries answer a wrong word with the nearest right one, before anything is built."""

from __future__ import annotations

import abc
import re
from typing import ClassVar

import pytest

from veravox.corpora import CORPORA
from veravox.errors import ConfigurationError
from veravox.recipes import RECIPES, recipe
from veravox.registry import Registry, Spec
from veravox.training import Recipe


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


class Gadget(abc.ABC):
    purpose: ClassVar[str]

    @abc.abstractmethod
    def run(self) -> None: ...


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Thing, "gadget 'new': Thing is not a Gadget; write 'class Thing(Gadget)'"),
        (lambda: 3, "is not a Gadget"),
        (type("Idle", (Gadget,), {"purpose": "none"}), "gadget 'new': Idle does not define run"),
        (type("Mute", (Gadget,), {"run": print}), "gadget 'new': Mute does not define purpose"),
    ],
)
def test_a_class_of_the_wrong_kind_is_refused_in_one_line(entry, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)) as caught:
        Registry("gadget", "veravox.corpora", Gadget).register("new")(entry)
    assert "\n" not in str(caught.value)


def no_annotation():
    return 3


def wrong_annotation() -> int:
    return 3


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (no_annotation, "recipe 'new': no_annotation must return a Recipe; annotate it with '-> Recipe'"),
        (wrong_annotation, "wrong_annotation must return a Recipe"),
        (Thing, "recipe 'new': Thing is not a function; write one that returns a Recipe"),
    ],
)
def test_a_function_of_the_wrong_kind_is_refused_in_one_line(entry, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        Registry("recipe", "veravox.corpora", returns="Recipe").register("new")(entry)


def test_a_recipe_that_returns_something_else_is_named(monkeypatch):
    def liar() -> Recipe:
        return 3

    monkeypatch.setitem(RECIPES._entries, "liar", liar)
    with pytest.raises(ConfigurationError, match="recipe 'liar' returned int, not a Recipe"):
        recipe("liar")


def test_options_that_the_caller_gives_are_refused_in_the_registrys_own_words():
    with pytest.raises(ConfigurationError, match="'split' is set by ROOT and --split; remove it"):
        CORPORA.check(Spec("asvspoof2019_la", {"split": "dev"}), ("root", "split"))
