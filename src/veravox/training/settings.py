"""How a stage fits weights: optimiser, schedule, loss, and which trials its epochs draw."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from veravox.errors import ConfigurationError
from veravox.registry import check_options
from veravox.training.sharpness.options import SharpnessAware


@dataclass(frozen=True)
class Training:
    """How weights are fitted in a stage of any kind.

    Args:
        epochs: at most this many.
        batch_size: windows, over all processes.
        learning_rate, min_learning_rate: start and end of the cosine; a constant rate where they are equal.
        halving_epochs: halve the rate after each so many epochs, in place of the cosine; None for the cosine.
        learning_rates: of single parts, an expert, `experts`, `gate`, `front_ends`; the most specific holds.
        optimiser: `adamw`, or `adam`, whose weight decay is part of the gradient.
        weight_decay: decoupled in AdamW.
        label_smoothing: mass spread over both classes.
        loss: cross-entropy of the `logits`; or, as in the code of 2025a, of `softmax` outputs taken for logits, a
            second softmax that bounds what one trial can cost.
        class_weights: of spoof and of bona fide trials in the loss, whose weighted mean it is; None weighs alike.
        gradient_clip: largest gradient norm of one expert, or of the gate; 0 for none.
        patience: epochs without a better dev EER (or loss, see `choose`) before a stage stops.
        draws: trials an epoch; None for as many as there are.
        windows: a `random` window of each trial drawn, or always its `first`.
        tiled_from: where the repetitions of a trial shorter than a window begin: `anywhere`, or at its `start`.
        balance: columns whose combined values are drawn equally often.
        nested: draw values of the first of these columns equally often, within one those of the second, ...: with
            `(label, source)` both labels alike, and within a label all sources, however many there are.
        size_power: with `nested`, draw values below the first column in proportion to their number of trials, to
            this power: 0 for all alike, 0.5 for its root.
        choose: keep the weights of the epoch with the `best` dev EER (of ties the least loss), of that with the
            `least_loss` on dev, here the stage's own loss, both classes weighing alike, or of the `last`.
        average_best: end with the mean of the weights of every epoch that reached the best dev EER so far, batch
            norms gathered anew over one more epoch (stochastic weight averaging as in the code of AASIST).
        replacement: draw trials with replacement, so that an epoch leaves some out.
        drop_last: leave out an epoch's last batch where it would be smaller, unless it is the only one.
        freeze: parts that keep their weights: `experts`, `gate`, `front_ends`, an expert, or `EXPERT.CHILD`.
        sharpness: a sharpness-aware step, e.g. `{rho: 0.05}`; None for a plain one.
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
    choose: Literal["best", "least_loss", "last"] = "best"
    average_best: bool = False
    replacement: bool = False
    drop_last: bool = False
    freeze: tuple[str, ...] = ()
    sharpness: SharpnessAware | None = None
    cache_copies: int = 0
    cache_share: float = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"

    @classmethod
    def parse(cls, owner: str, values: Mapping[str, Any]) -> Training:
        """Read plain data; `owner` names it in messages.

        Raises:
            ConfigurationError: naming the field and the nearest word.
        """
        fields = {**values}
        if "sharpness" in fields:
            fields["sharpness"] = _sharpness(fields["sharpness"])
        check_options(owner, cls, fields)
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """As plain data; `parse` reads it back."""
        return plain(dataclasses.asdict(self))

    def __post_init__(self) -> None:
        object.__setattr__(self, "balance", tuple(self.balance))
        object.__setattr__(self, "freeze", tuple(self.freeze))
        object.__setattr__(self, "learning_rates", dict(self.learning_rates))
        object.__setattr__(self, "sharpness", _sharpness(self.sharpness))
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
        rest = (self.min_learning_rate, self.weight_decay, self.gradient_clip)
        if not 0 < self.learning_rate < math.inf or not all(0 <= value < math.inf for value in rest):
            raise ConfigurationError(
                "training: learning rates must be positive and finite, weight_decay and gradient_clip not negative"
            )
        wrong = {name: rate for name, rate in self.learning_rates.items() if not 0 < rate < math.inf}
        if wrong:
            raise ConfigurationError(f"training: learning_rates must be positive, not {wrong}; use freeze instead")
        if self.cache_copies < 0:
            raise ConfigurationError(f"training: cache_copies must not be negative, not {self.cache_copies}")
        if not 0 <= self.cache_share <= 1:
            raise ConfigurationError(f"training: cache_share must be in [0, 1], not {self.cache_share}")
        if not 0 <= self.size_power <= 1:
            raise ConfigurationError(f"training: size_power must be in [0, 1], not {self.size_power}")
        if self.nested and self.replacement:
            raise ConfigurationError("training: nested draws are without replacement; set one of the two")


def _sharpness(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    check_options("sharpness", SharpnessAware, value)
    return SharpnessAware(**value)


def plain(value: Any) -> Any:
    """Mappings and sequences as new dicts and lists, as YAML and JSON have them."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


__all__ = ["Training", "plain"]
