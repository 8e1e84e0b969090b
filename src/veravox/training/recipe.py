"""A recipe is a whole experiment as frozen data: detector, stages, augmentation, seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from veravox.batches.chain import check_chain
from veravox.batches.copies import copied_share
from veravox.corpora import named_mixes
from veravox.errors import ConfigurationError, suggest
from veravox.models.detector import DetectorSpec
from veravox.registry import check_options
from veravox.training.masking import FeatureMasks
from veravox.training.settings import plain
from veravox.training.stages import SHARED_FIELDS, STAGES, Stage, parse_stage

MAPPING_FIELDS = ("sharpness", "learning_rates", "domains", "spec_augment")
"""Fields whose own fields may be set where they were not yet."""

STAGE_FIELDS = frozenset(SHARED_FIELDS.union(*(kind.own_fields() for kind in STAGES.values())))
"""Fields that a stage of some kind has."""


@dataclass(frozen=True)
class Recipe:
    """A whole experiment.

    Args:
        name: of the experiment.
        description: one sentence for `veravox recipe list`.
        detector: what is trained.
        stages: in order, each with all its settings.
        augmentation: what training batches go through, in order; see `veravox.augment.build_chain`.
        half: round the trained weights to half precision, in which a checkpoint takes half the room.
        spec_augment: masks on features in training: options of `SpecAugment`, `probability` and `front_ends`; None
            for none. See `veravox.training.masking.FeatureMasks`.
        synthesis: copy-synthesis: which share of the bona fide windows get a spoofed copy in their batch, by which
            synthesis; see `veravox.augment.build_synthesis` and `veravox.batches.Pairing`.
        splice_probability: how often such a copy replaces only parts of its original; a number or a curriculum.
        policy: window policy for dev scores and calibration.
        hop_s: of the sliding policy; None for whole windows.
        mix: the named data set that the paper trained on, which `veravox protocol mix NAME` builds; any other data
            may be given all the same.
        seed: of weights, draws and noise.
    """

    name: str
    description: str
    detector: DetectorSpec
    stages: tuple[Stage, ...]
    augmentation: tuple[Mapping[str, Any], ...] = ()
    spec_augment: Mapping[str, Any] | None = None
    synthesis: tuple[Mapping[str, Any], ...] = ()
    splice_probability: float | Mapping[int, float] = 0.0
    policy: Literal["first", "middle", "sliding"] = "sliding"
    hop_s: float | None = None
    mix: str | None = None
    seed: int = 0
    half: bool = False

    def __post_init__(self) -> None:
        if not self.stages:
            raise ConfigurationError(f"recipe {self.name!r} has no stages")
        if self.seed < 0:
            raise ConfigurationError(f"recipe {self.name!r}: seed must not be negative, not {self.seed}")
        if self.mix is not None and self.mix not in named_mixes():
            raise ConfigurationError(
                f"recipe {self.name!r}: unknown mix {self.mix!r}; {suggest(self.mix, named_mixes())}"
            )
        check_chain(self.augmentation)
        self.feature_masks()
        self.copied_share()
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ConfigurationError(f"recipe {self.name!r}: stage names must differ, got {names}")
        for stage in self.stages:
            stage.check(list(self.detector.experts))

    def first_epoch(self, index: int) -> int:
        """The epoch of curricula at which a stage starts: they go on over all stages, counted at full length."""
        return sum(stage.training.epochs for stage in self.stages[:index])

    @property
    def caches_features(self) -> bool:
        """Whether any stage trains on cached features."""
        return any(stage.training.cache_copies for stage in self.stages)

    def feature_masks(self) -> FeatureMasks | None:
        """What masks features in training, if anything does."""
        return None if self.spec_augment is None else FeatureMasks(self.spec_augment, self.detector)

    def copied_share(self) -> Callable[[int], float]:
        """The share of bona fide windows that get a spoofed copy, by epoch."""
        return copied_share(self.synthesis, self.splice_probability)

    def to_dict(self) -> dict[str, Any]:
        """As plain data; `parse` reads it back."""
        return {
            "name": self.name,
            "description": self.description,
            "seed": self.seed,
            "policy": self.policy,
            "hop_s": self.hop_s,
            "mix": self.mix,
            "detector": self.detector.to_dict(),
            "augmentation": plain(list(self.augmentation)),
            "spec_augment": plain(self.spec_augment),
            "synthesis": plain(list(self.synthesis)),
            "splice_probability": plain(self.splice_probability),
            "half": self.half,
            "stages": [stage.to_dict() for stage in self.stages],
        }

    def to_yaml(self) -> str:
        """As YAML; `read_recipe` reads it back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=100)

    @classmethod
    def parse(cls, data: Any) -> Recipe:
        """Read plain data; every name and type is checked before anything is built.

        Fields under `training` hold for every stage that has them and does not set its own.

        Raises:
            ConfigurationError: naming the field and the nearest word.
        """
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"a recipe is a mapping; got {type(data).__name__}")
        values = dict(data)
        if "detector" in values:
            values["detector"] = DetectorSpec.parse(values["detector"])
        shared = _shared(values.pop("training", None) or {})
        if "stages" in values:
            stages = values["stages"] or ()
            if not isinstance(stages, list | tuple):
                raise ConfigurationError(f"recipe: 'stages' is a list of stages; got {stages!r}")
            values["stages"] = tuple(parse_stage(item, shared) for item in stages)
        for name in ("augmentation", "synthesis"):
            given = values.get(name, ())
            values[name] = tuple(given or ()) if given is None or isinstance(given, list | tuple) else given
        check_options("recipe", cls, values)
        return cls(**values)


def _shared(fields: Any) -> Mapping[str, Any]:
    """What a recipe says under `training`, its names checked."""
    if not isinstance(fields, Mapping):
        raise ConfigurationError(f"recipe: 'training' is a mapping of its fields; got {fields!r}")
    for name in fields:
        if name not in STAGE_FIELDS:
            raise ConfigurationError(f"training has no option {name!r}; {suggest(str(name), STAGE_FIELDS)}")
    return fields


class _Loader(yaml.SafeLoader):
    """YAML in which `1e-4` is a number, as people write learning rates; YAML 1.1 wants `1.0e-4`."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _from_yaml(text: str) -> Any:
    return yaml.load(text, _Loader)


def read_recipe(path: str | Path) -> Recipe:
    """Read a YAML recipe.

    Raises:
        ConfigurationError: if the file is absent, no YAML, or describes no recipe.
    """
    try:
        return Recipe.parse(_from_yaml(Path(path).read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"recipe {str(path)!r} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"recipe {str(path)!r} is not YAML: {reason}") from error


def change(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Apply `field=value` settings, values as YAML: `training.epochs=3`, `stages.joint.epochs=2`, `seed=1`.

    A field of `training` is set in every stage that has it.

    Raises:
        ConfigurationError: for an unknown field, naming the nearest one.
    """
    data = recipe.to_dict()
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {setting!r}: write FIELD=VALUE")
        try:
            value = _from_yaml(text)
        except yaml.YAMLError as error:
            raise ConfigurationError(f"--set {setting!r}: the value is not YAML") from error
        _set(data, key.strip(), value)
    return Recipe.parse(data)


def _set(data: dict[str, Any], key: str, value: Any) -> None:
    first, *rest = key.split(".")
    if first == "training":
        for name, item in {".".join(rest): value}.items() if rest else _shared(value).items():
            _set_in_all_stages(data["stages"], name.split("."), item, key)
    elif first == "stages" and rest:
        if len(rest) == 1:
            raise ConfigurationError(f"--set {key}: write stages.NAME.FIELD=VALUE")
        stages = {stage["name"]: stage for stage in data["stages"]}
        if rest[0] not in stages:
            raise ConfigurationError(f"--set {key}: no stage {rest[0]!r}; {suggest(rest[0], stages)}")
        _set_field(stages[rest[0]], rest[1:], value, key)
    elif first not in data:
        raise ConfigurationError(f"--set {key}: no field {first!r}; {suggest(first, {*data, 'training'})}")
    else:
        _set_field(data, [first, *rest], value, key)


def _set_in_all_stages(stages: Sequence[dict[str, Any]], parts: list[str], value: Any, key: str) -> None:
    if parts[0] not in STAGE_FIELDS:
        raise ConfigurationError(f"--set {key}: no field {parts[0]!r}; {suggest(parts[0], STAGE_FIELDS)}")
    members = [stage for stage in stages if parts[0] in stage]
    if not members:
        raise ConfigurationError(f"--set {key}: no stage of this recipe has a field {parts[0]!r}")
    for stage in members:
        _set_field(stage, parts, value, key)


def _set_field(holder: Any, parts: Sequence[str], value: Any, key: str) -> None:
    *owners, name = parts
    for owner in owners:
        if not isinstance(holder, dict) or owner not in holder:
            known = set(holder) if isinstance(holder, dict) else set()
            raise ConfigurationError(f"--set {key}: no field {owner!r}; {suggest(owner, known)}")
        if holder[owner] is None and owner in MAPPING_FIELDS:
            holder[owner] = {}
        holder = holder[owner]
    known = set(holder) if isinstance(holder, dict) else set()
    # Parts of a detector take options that are not written out; their registries check the names.
    free_form = (parts[0] == "detector" and len(parts) > 2) or (owners and owners[-1] in MAPPING_FIELDS)
    if not isinstance(holder, dict) or (name not in known and not free_form):
        raise ConfigurationError(f"--set {key}: no field {name!r}; {suggest(name, known)}")
    holder[name] = value


__all__ = ["Recipe", "change", "read_recipe"]
