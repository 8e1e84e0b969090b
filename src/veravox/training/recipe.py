"""A recipe is a whole experiment as frozen data: detector, stages, augmentation, seed."""

from __future__ import annotations

import copy
import dataclasses
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from veravox.augment.chain import check_chain
from veravox.augment.synthesis.copies import copied_share
from veravox.corpora import named_mixes
from veravox.errors import ConfigurationError, suggest
from veravox.models.detector import DetectorSpec
from veravox.registry import check_options
from veravox.training.masking import FeatureMasks
from veravox.training.sharpness_aware import SharpnessAware

OPEN = ("sharpness", "learning_rates", "domains", "spec_augment")
"""Fields whose own fields may be set where they were not yet."""


@dataclass(frozen=True)
class Training:
    """How weights are fitted; a stage may override any field.

    Args:
        epochs: at most this many.
        batch_size: windows, over all processes.
        learning_rate, min_learning_rate: start and end of the cosine; a constant rate where they are equal.
        halving_epochs: halve the rate after each so many epochs, in place of the cosine; None for the cosine.
        gate_learning_rate: of the gate and projections in a joint stage; None for the same.
        learning_rates: of single parts, an expert, `experts`, `gate`, `front_ends`; the most specific holds.
        optimiser: `adamw`, or `adam`, whose weight decay is part of the gradient.
        weight_decay: decoupled in AdamW.
        label_smoothing: mass spread over both classes.
        loss: cross-entropy of the `logits`; or, as in the code of 2025a, of `softmax` outputs taken for logits, a
            second softmax that bounds what one trial can cost.
        class_weights: of spoof and of bona fide trials in the loss, whose weighted mean it is; None weighs alike.
        gradient_clip: largest gradient norm of one expert, or of the gate; 0 for none.
        patience: epochs without a better dev EER before a stage stops.
        draws: trials an epoch; None for as many as there are.
        windows: a `random` window of each trial drawn, or always its `first`.
        tiled_from: where the repetitions of a trial shorter than a window begin: `anywhere`, or at its `start`.
        balance: columns whose combined values are drawn equally often.
        nested: draw values of the first of these columns equally often, within one those of the second, ...: with
            `(label, source)` both labels alike, and within a label all sources, however many there are.
        size_power: with `nested`, draw values below the first column in proportion to their number of trials, to
            this power: 0 for all alike, 0.5 for its root.
        choose: keep the weights of the `best` epoch on dev, or of the `last`.
        replacement: draw trials with replacement, so that an epoch leaves some out.
        drop_last: leave out an epoch's last batch where it would be smaller, unless it is the only one.
        mixture_loss_weight: of the mixture's loss in a joint stage; at 0 it still teaches the gate, but no expert.
        expert_loss_weight: of the mean of the experts' own losses in a joint stage.
        gate_entropy_weight: of the gate's mean entropy; positive sharpens its decisions, negative spreads them.
        load_balance_weight: of `load_imbalance`, which is least where experts are used alike.
        freeze: parts that keep their weights: `experts`, `gate`, `front_ends`, an expert, or `EXPERT.CHILD`.
        domains: in a stage of experts, the domain that each expert learns from; `*` is all of them.
        partition: in a stage of experts, every trial belongs to one expert, drawn by the recipe's seed.
        sharpness: fields of `SharpnessAware` for a sharpness-aware step, e.g. `{rho: 0.05}`; None for a plain one.
        cache_copies: keep the features of frozen front ends on disk, in the run's folder `features`, for so many
            copies of each trial, each with noise and a crop of its own; epochs use them in turn. 0 computes
            features anew each time.
        cache_share: of the trials, chosen by their content, that get more than the first copy.
        precision: `auto` is bfloat16 on devices that compute in it, else float32.
    """

    epochs: int = 30
    batch_size: int = 64
    learning_rate: float = 1e-3
    min_learning_rate: float = 1e-5
    halving_epochs: int | None = None
    gate_learning_rate: float | None = None
    learning_rates: Mapping[str, float] = field(default_factory=dict)
    optimiser: Literal["adamw", "adam"] = "adamw"
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    loss: Literal["logits", "softmax"] = "logits"
    class_weights: tuple[float, float] | None = None
    gradient_clip: float = 5.0
    patience: int = 10
    draws: int | None = None
    windows: Literal["random", "first"] = "random"
    tiled_from: Literal["anywhere", "start"] = "anywhere"
    balance: tuple[str, ...] = ("label",)
    nested: bool = False
    size_power: float = 0.0
    choose: Literal["best", "last"] = "best"
    replacement: bool = False
    drop_last: bool = False
    mixture_loss_weight: float = 1.0
    expert_loss_weight: float = 0.0
    gate_entropy_weight: float = 0.0
    load_balance_weight: float = 0.0
    freeze: tuple[str, ...] = ()
    domains: Mapping[str, str] = field(default_factory=dict)
    partition: bool = False
    sharpness: Mapping[str, Any] | None = None
    cache_copies: int = 0
    cache_share: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    def __post_init__(self) -> None:
        object.__setattr__(self, "balance", tuple(self.balance))
        object.__setattr__(self, "freeze", tuple(self.freeze))
        object.__setattr__(self, "domains", dict(self.domains))
        object.__setattr__(self, "learning_rates", dict(self.learning_rates))
        if self.sharpness is not None:
            check_options("training: sharpness", SharpnessAware, self.sharpness)
            SharpnessAware(**self.sharpness)
        if self.epochs < 1 or self.batch_size < 2 or self.patience < 1:
            raise ConfigurationError("training: epochs and patience must be at least 1, batch_size at least 2")
        if self.halving_epochs is not None and self.halving_epochs < 1:
            raise ConfigurationError(
                f"training: halving_epochs must be at least 1, not {self.halving_epochs}; use null for a cosine"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ConfigurationError(f"training: label_smoothing must be in [0, 1), not {self.label_smoothing}")
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", tuple(self.class_weights))
            if len(self.class_weights) != 2 or min(self.class_weights) <= 0:
                raise ConfigurationError(
                    "training: class_weights are two positive numbers, of spoof and bona fide"
                )
        if self.draws is not None and self.draws < 1:
            raise ConfigurationError(f"training: draws must be at least 1, not {self.draws}; leave it out for all")
        rates = (self.learning_rate, 1.0 if self.gate_learning_rate is None else self.gate_learning_rate)
        rest = (self.min_learning_rate, self.weight_decay, self.gradient_clip)
        if not all(0 < rate < math.inf for rate in rates) or not all(0 <= value < math.inf for value in rest):
            raise ConfigurationError(
                "training: learning rates must be positive and finite, weight_decay and gradient_clip not negative"
            )
        wrong = {name: rate for name, rate in self.learning_rates.items() if not 0 < rate < math.inf}
        if wrong:
            raise ConfigurationError(f"training: learning_rates must be positive, not {wrong}; use freeze instead")
        for name in ("mixture_loss_weight", "expert_loss_weight", "load_balance_weight"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"training: {name} must not be negative, not {getattr(self, name)}")
        if self.cache_copies < 0 or (self.cache_copies and (self.domains or self.partition)):
            raise ConfigurationError(
                "training: cache_copies must not be negative, and is for stages whose experts all learn from all "
                f"trials, not with domains or partition; got {self.cache_copies}"
            )
        if not 0 <= self.cache_share <= 1:
            raise ConfigurationError(f"training: cache_share must be in [0, 1], not {self.cache_share}")
        if not 0 <= self.size_power <= 1:
            raise ConfigurationError(f"training: size_power must be in [0, 1], not {self.size_power}")
        if self.nested and self.replacement:
            raise ConfigurationError("training: nested draws are without replacement; set one of the two")
        if self.domains and self.partition:
            raise ConfigurationError("training: either domains or partition divide the trials, not both")


@dataclass(frozen=True)
class Stage:
    """One part of a training.

    Args:
        name: for logs, and for `--set stages.NAME.FIELD=VALUE`.
        trains: `experts` fits each expert alone with its own loss; `joint` fits the mixture.
        overrides: fields of `Training` that differ here.
    """

    name: str
    trains: Literal["experts", "joint"]
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"name": self.name, "trains": self.trains, **_plain(dict(self.overrides))}

    @classmethod
    def parse(cls, value: Any) -> Stage:
        """Read from a mapping with `name`, `trains` and fields of `Training`."""
        if isinstance(value, Stage):
            return value
        if not isinstance(value, Mapping):
            raise ConfigurationError(f"a stage is a mapping with 'name' and 'trains'; got {value!r}")
        own = {key: item for key, item in value.items() if key in ("name", "trains")}
        overrides = {key: item for key, item in value.items() if key not in own}
        check_options("stage", cls, own)
        check_options(f"stage {own['name']!r}", Training, overrides)
        return cls(**own, overrides=overrides)


@dataclass(frozen=True)
class Recipe:
    """A whole experiment.

    Args:
        name: of the experiment.
        description: one sentence for `veravox recipe list`.
        detector: what is trained.
        stages: in order.
        training: shared by all stages.
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
    training: Training = field(default_factory=Training)
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
        for index, stage in enumerate(self.stages):
            _check_parts(stage, self.stage_training(index), list(self.detector.experts))

    def stage_training(self, index: int) -> Training:
        """What holds in a stage: the shared training with the stage's overrides."""
        return replace(self.training, **self.stages[index].overrides)

    def first_epoch(self, index: int) -> int:
        """The epoch of curricula at which a stage starts: they go on over all stages, counted at full length."""
        return sum(self.stage_training(before).epochs for before in range(index))

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
            "augmentation": _plain(list(self.augmentation)),
            "spec_augment": _plain(self.spec_augment),
            "synthesis": _plain(list(self.synthesis)),
            "splice_probability": _plain(self.splice_probability),
            "half": self.half,
            "training": _plain(dataclasses.asdict(self.training)),
            "stages": [stage.to_dict() for stage in self.stages],
        }

    def to_yaml(self) -> str:
        """As YAML; `read_recipe` reads it back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True, width=100)

    @classmethod
    def parse(cls, data: Any) -> Recipe:
        """Read plain data; every name and type is checked before anything is built.

        Raises:
            ConfigurationError: naming the field and the nearest word.
        """
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"a recipe is a mapping; got {type(data).__name__}")
        values = dict(data)
        if "detector" in values:
            values["detector"] = DetectorSpec.parse(values["detector"])
        if "training" in values:
            fields = values["training"] or {}
            if not isinstance(fields, Mapping):
                raise ConfigurationError(f"recipe: 'training' is a mapping of its fields; got {fields!r}")
            check_options("training", Training, fields)
            values["training"] = Training(**fields)
        if "stages" in values:
            stages = values["stages"] or ()
            if not isinstance(stages, list | tuple):
                raise ConfigurationError(f"recipe: 'stages' is a list of stages; got {stages!r}")
            values["stages"] = tuple(Stage.parse(item) for item in stages)
        for name in ("augmentation", "synthesis"):
            given = values.get(name, ())
            values[name] = tuple(given or ()) if given is None or isinstance(given, list | tuple) else given
        check_options("recipe", cls, values)
        return cls(**values)


def _check_parts(stage: Stage, training: Training, experts: list[str]) -> None:
    """Check every name of a part, and that what a stage asks for goes together."""
    parts = [*experts, "experts", "gate", "front_ends"]
    for option, names, known in (
        ("freeze", [name.partition(".")[0] for name in training.freeze], parts),
        ("learning_rates", list(training.learning_rates), parts),
        ("domains", list(training.domains), experts),
    ):
        for name in names:
            if name not in known:
                raise ConfigurationError(
                    f"stage {stage.name!r}, {option}: no part {name!r}; {suggest(name, known)}"
                )
    if stage.trains == "joint":
        if training.domains or training.partition:
            raise ConfigurationError(
                f"stage {stage.name!r} trains the mixture on all trials; domains and partition are for stages "
                "that train experts"
            )
        free = [name for name in experts if name not in training.freeze and "experts" not in training.freeze]
        if free and not training.mixture_loss_weight and not training.expert_loss_weight:
            raise ConfigurationError(
                f"stage {stage.name!r}: no loss reaches the experts; set mixture_loss_weight or "
                "expert_loss_weight, or freeze: [experts]"
            )
        return
    missing = [name for name in experts if name not in training.domains and name not in training.freeze]
    if training.domains and missing:
        raise ConfigurationError(
            f"stage {stage.name!r}: no domain for {', '.join(missing)}; name one, '*' for all, or freeze it"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


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

    A field of `training` is set for every stage, also where a stage had its own.

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
        _set(data, key.split("."), value, key)
    return Recipe.parse(data)


def _set(data: dict[str, Any], parts: list[str], value: Any, key: str) -> None:
    holder: Any = data
    if parts[0] == "stages" and len(parts) > 2:
        stages = {stage["name"]: stage for stage in data["stages"]}
        if parts[1] not in stages:
            raise ConfigurationError(f"--set {key}: no stage {parts[1]!r}; {suggest(parts[1], stages)}")
        if len(parts) == 3:
            stages[parts[1]][parts[2]] = value
            return
        holder, parts = stages[parts[1]], parts[2:]
        holder.setdefault(parts[0], copy.deepcopy(data["training"].get(parts[0])))  # changed in this stage alone
    elif parts[0] == "stages" and len(parts) == 2:
        raise ConfigurationError(f"--set {key}: write stages.NAME.FIELD=VALUE")
    elif parts[0] == "training" and len(parts) > 1:
        for stage in data["stages"]:
            if len(parts) == 2:
                stage.pop(parts[1], None)
            elif parts[1] in stage:
                _set(stage, parts[1:], value, key)
    for part in parts[:-1]:
        if not isinstance(holder, dict) or part not in holder:
            there = set(holder) if isinstance(holder, dict) else set()
            raise ConfigurationError(f"--set {key}: no field {part!r}; {suggest(part, there)}")
        if holder[part] is None and part in OPEN:
            holder[part] = {}
        holder = holder[part]
    known = set(holder) if isinstance(holder, dict) else set()
    free_form = (parts[0] == "detector" and len(parts) > 2) or parts[-2:-1] in ([name] for name in OPEN)
    if not isinstance(holder, dict) or (parts[-1] not in known and not free_form):
        raise ConfigurationError(f"--set {key}: no field {parts[-1]!r}; {suggest(parts[-1], known)}")
    holder[parts[-1]] = value
