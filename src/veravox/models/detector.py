"""The detector: level rule, front ends run once a batch, experts, gate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError, suggest
from veravox.models.experts import EXPERTS, Expert
from veravox.models.familiarity import Familiarity
from veravox.models.front_ends import FRONT_ENDS
from veravox.models.gates import GATES
from veravox.models.mixture import Mixing, Mixture, MixtureOutput, zero_anchor
from veravox.models.routers import ROUTERS
from veravox.registry import Spec, check_options

SAMPLE_RATE_HZ = 16000
MAX_GAIN_DB = 40.0

DetectorOutput = MixtureOutput
"""`logits` (B,), `expert_logits` (B, E), `gate_weights` (B, E)."""


@dataclass(frozen=True)
class ExpertSpec:
    """One expert of a detector: which front end it listens to, and what it is."""

    front_end: str
    spec: Spec

    @classmethod
    def parse(cls, value: Any) -> ExpertSpec:
        """Read from a mapping with `front_end`, `name` and options.

        Raises:
            ConfigurationError: if `front_end` or `name` is missing.
        """
        if isinstance(value, ExpertSpec):
            return value
        if not isinstance(value, Mapping) or not isinstance(value.get("front_end"), str):
            raise ConfigurationError(f"an expert is a mapping with 'front_end' and 'name'; got {value!r}")
        return cls(value["front_end"], Spec.parse({key: v for key, v in value.items() if key != "front_end"}))

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"front_end": self.front_end, **self.spec.to_dict()}


@dataclass(frozen=True)
class DetectorSpec:
    """Everything that a detector is but its weights.

    Args:
        front_ends: by a name of their own; experts that name the same one share it.
        experts: by name, in order.
        gate: what weighs the experts.
        router: what makes weights of the gate's logits.
        embedding_size: what embeddings are projected to where experts differ in size.
        window_s: length of the windows it judges.
        segments: equal parts that each window is cut into. Each part is judged like a window of its own, and the
            window's logit is their mean. The gate `attention` then attends over (expert, segment) tokens.
        level_dbfs: RMS level that each window is brought to, its mean removed, with at most 40 dB of gain; None
            leaves windows alone.
        mixing: whether the gate's weights mix the experts' logits or their probabilities. Of probabilities, the
            mixture's logit is the difference, bona fide minus spoof: one sure expert cannot overrule the others.
        familiarity: the front end whose features tell how strange a window is (see `Familiarity`); None for none.
    """

    front_ends: Mapping[str, Spec]
    experts: Mapping[str, ExpertSpec]
    gate: Spec = field(default_factory=lambda: Spec("uniform"))
    router: Spec = field(default_factory=lambda: Spec("soft"))
    embedding_size: int = 64
    window_s: float = 3.0
    level_dbfs: float | None = None
    segments: int = 1
    mixing: Mixing = "logits"
    familiarity: str | None = None

    def __post_init__(self) -> None:
        if not self.experts:
            raise ConfigurationError("a detector needs at least one expert")
        for name, expert in self.experts.items():
            if expert.front_end not in self.front_ends:
                raise ConfigurationError(
                    f"expert {name!r} names the front end {expert.front_end!r}; "
                    f"{suggest(expert.front_end, self.front_ends)}"
                )
            if not str(name).isidentifier():
                raise ConfigurationError(f"expert name {name!r}: use letters, digits and underscores")
        if self.gate_front_end is not None and self.gate_front_end not in self.front_ends:
            raise ConfigurationError(
                f"gate {self.gate.name!r} names the front end {self.gate_front_end!r}; "
                f"{suggest(self.gate_front_end, self.front_ends)}"
            )
        if self.familiarity is not None and self.familiarity not in self.front_ends:
            raise ConfigurationError(
                f"familiarity names the front end {self.familiarity!r}; "
                f"{suggest(self.familiarity, self.front_ends)}"
            )
        if self.window_s <= 0:
            raise ConfigurationError(f"window_s must be positive, not {self.window_s}")
        if self.segments < 1 or self.window_samples % self.segments:
            raise ConfigurationError(
                f"a window of {self.window_samples} samples cannot be cut into {self.segments} equal segments; "
                "change segments or window_s"
            )

    @property
    def gate_front_end(self) -> str | None:
        """The front end whose features the gate sees; None if it sees none."""
        if getattr(GATES[self.gate.name], "sees", None) != "features":
            return None
        return str(self.gate.options.get("front_end") or next(iter(self.front_ends)))

    @property
    def window_samples(self) -> int:
        """S, at 16 kHz."""
        return round(self.window_s * SAMPLE_RATE_HZ)

    @property
    def segment_samples(self) -> int:
        """Samples of what front ends hear at once: S, or a segment of it."""
        return self.window_samples // self.segments

    @classmethod
    def parse(cls, data: Any) -> DetectorSpec:
        """Read plain data, checking every name and option before anything is built.

        Raises:
            ConfigurationError: naming the entry, the option and the nearest word.
        """
        if isinstance(data, DetectorSpec):
            return data
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"a detector is a mapping; got {data!r}")
        for key in ("front_ends", "experts"):
            if not isinstance(data.get(key), Mapping):
                raise ConfigurationError(f"detector: {key!r} must be a mapping of names; got {data.get(key)!r}")
        values = dict(data)
        values["front_ends"] = {name: Spec.parse(item) for name, item in values["front_ends"].items()}
        values["experts"] = {name: ExpertSpec.parse(item) for name, item in values["experts"].items()}
        values |= {key: Spec.parse(values[key]) for key in ("gate", "router") if key in values}
        check_options("detector", cls, values)
        spec = cls(**values)
        spec.check()
        return spec

    def check(self) -> None:
        """Check all names and options against the registries."""
        for front_end in self.front_ends.values():
            FRONT_ENDS.check(front_end, ("sample_rate_hz",))
        for expert in self.experts.values():
            EXPERTS.check(expert.spec, ("feature_shape",))
        GATES.check(self.gate, ("experts", "embedding_size", "window_samples", "segments", "feature_shape"))
        ROUTERS.check(self.router, ("experts", "expert_names"))

    def to_dict(self) -> dict[str, Any]:
        """As plain data; `parse` reads it back."""
        known = {} if self.familiarity is None else {"familiarity": self.familiarity}
        return {
            "front_ends": {name: spec.to_dict() for name, spec in self.front_ends.items()},
            "experts": {name: spec.to_dict() for name, spec in self.experts.items()},
            "gate": self.gate.to_dict(),
            "router": self.router.to_dict(),
            "embedding_size": self.embedding_size,
            "window_s": self.window_s,
            "level_dbfs": self.level_dbfs,
            "segments": self.segments,
            "mixing": self.mixing,
            **known,
        }


def normalise_level(windows: Tensor, level_dbfs: float) -> Tensor:
    """Remove each window's mean and scale it to an RMS level in dB re full scale, by at most 40 dB of gain."""
    windows = windows - windows.mean(dim=1, keepdim=True)
    rms = windows.square().mean(dim=1, keepdim=True).sqrt()
    return windows * (10.0 ** (level_dbfs / 20.0) / rms.clamp(min=1e-9)).clamp(max=10.0 ** (MAX_GAIN_DB / 20.0))


@torch.no_grad()
def _eval_forward(module: nn.Module, inputs: Tensor) -> Any:
    """What a module gives in evaluation mode."""
    was_training = module.training
    try:
        return module.eval()(inputs)
    finally:
        module.train(was_training)


def mflops(module: nn.Module, inputs: Tensor) -> float:
    """Millions of multiplications and additions in a module's matrix products and convolutions on these inputs."""
    from torch.utils.flop_counter import FlopCounterMode  # slow to import, seldom needed

    with FlopCounterMode(display=False) as counter:
        _eval_forward(module, inputs)
    return max(counter.get_total_flops() / 1e6, 1e-3)


class DetectorModel(nn.Module):
    """Judges windows: (B, S) float32 at 16 kHz to one logit each, bona fide minus spoof.

    Each named front end runs once a batch; every expert that names it gets its features.

    Args:
        spec: what to build.
    Attributes:
        spec: the same, and what front ends read from other files.
        trainable: names of the parameters that may learn; the others are frozen by their part's own options.
        runs_all: run every expert on every window, also where a sparse router could spare some; logits stay.
    Raises:
        ConfigurationError: for a wrong name or option, or a part tied to another window length.
    """

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        spec.check()
        self.spec = spec
        self.front_ends: nn.ModuleDict = nn.ModuleDict(
            {name: FRONT_ENDS.build(item, sample_rate_hz=SAMPLE_RATE_HZ) for name, item in spec.front_ends.items()}
        )
        self.spec = spec = self._portable(spec)
        self.feature_shapes = shapes = self._feature_shapes()
        experts: dict[str, Expert] = {
            name: EXPERTS.build(item.spec, feature_shape=shapes[item.front_end])
            for name, item in spec.experts.items()
        }
        self.spec = spec = self._with_costs(spec, experts)
        self.mixture = Mixture(
            experts,
            spec.gate,
            spec.router,
            spec.embedding_size,
            spec.segment_samples,
            spec.segments,
            shapes[spec.gate_front_end] if spec.gate_front_end else (),
            spec.mixing,
        )
        self.familiarity = None if spec.familiarity is None else Familiarity(math.prod(shapes[spec.familiarity]))
        self.runs_all = False
        tied: dict[str, Any] = {
            **{f"expert {name!r}": part for name, part in experts.items()},
            "the gate": self.mixture.gate,
        }
        for name, part in tied.items():
            if part.window_samples not in (None, spec.segment_samples):
                told = spec.segment_samples / SAMPLE_RATE_HZ
                raise ConfigurationError(
                    f"{name} is tied to windows of {part.window_samples / SAMPLE_RATE_HZ:g} s, "
                    f"the detector has {told:g} s; set window_s to match"
                )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.trainable = {name for name, parameter in self.named_parameters() if parameter.requires_grad}

    def _portable(self, spec: DetectorSpec) -> DetectorSpec:
        """The spec with what front ends read from other files written into it, so that a checkpoint needs none."""
        added = {
            name: Spec(item.name, {**item.options, **getattr(self.front_ends[name], "portable_options", {})})
            for name, item in spec.front_ends.items()
        }
        return dataclasses.replace(spec, front_ends=added)

    def _with_costs(self, spec: DetectorSpec, experts: Mapping[str, Expert]) -> DetectorSpec:
        """The spec with measured costs of its experts, where its router wants them and they are not given."""
        if not getattr(ROUTERS[spec.router.name], "needs_costs", False) or spec.router.options.get("costs"):
            return spec
        silence = torch.zeros(1, spec.segment_samples)
        costs = {}
        for name, item in spec.experts.items():
            front_end = self.front_ends[item.front_end]
            costs[name] = round(
                mflops(front_end, silence) + mflops(experts[name], _eval_forward(front_end, silence)), 3
            )
        return dataclasses.replace(spec, router=Spec(spec.router.name, {**spec.router.options, "costs": costs}))

    def _feature_shapes(self) -> dict[str, tuple[int, ...]]:
        silence = torch.zeros(1, self.spec.segment_samples)
        shapes = {}
        for name, front_end in self.front_ends.items():
            shapes[name] = tuple(_eval_forward(front_end, silence).shape[1:])
        return shapes

    @property
    def expert_names(self) -> list[str]:
        """In the order of every (B, E) axis."""
        return list(self.spec.experts)

    def _used_front_ends(self) -> list[str]:
        """Those that an expert or the gate names."""
        used: set[str | None] = {item.front_end for item in self.spec.experts.values()}
        used |= {self.spec.gate_front_end, self.spec.familiarity}
        return [name for name in self.front_ends if name in used]

    def extract(self, windows: Tensor) -> dict[str, Tensor]:
        """Features by front end's name, each computed once; with segments, those of each window in a row.

        Front ends that neither an expert nor the gate names are left out.
        """
        windows = self._prepared(windows)
        return {name: self.front_ends[name](windows) for name in self._used_front_ends()}

    def predict_features(self, features: Mapping[str, Tensor], windows: Tensor) -> DetectorOutput:
        """The mixture's output for features by front end's name; experts that are not chosen may not be run."""
        if self._skips_experts():
            return self._average_segments(self._forward_selected(self._prepared(windows), features))
        by_expert = {name: features[item.front_end] for name, item in self.spec.experts.items()}
        seen = self._prepared(windows) if self.mixture.gate.sees == "waveform" else None
        if self.spec.gate_front_end is not None:
            seen = features[self.spec.gate_front_end]
        return self._average_segments(self._with_strangeness(self.mixture(by_expert, seen), features))

    def forward(self, windows: Tensor) -> DetectorOutput:
        """Judge windows (B, S)."""
        if self._skips_experts():
            return self._average_segments(self._forward_selected(self._prepared(windows), {}))
        return self.predict_features(self.extract(windows), windows)

    def flat_features(self, windows: Tensor) -> Tensor:
        """All features of windows (B, S) as one row a window, (B, F), for `predict_flat`."""
        by_name = self.extract(windows)
        return torch.cat([features.reshape(len(windows), -1) for features in by_name.values()], dim=1)

    def unflattened(self, flat: Tensor) -> dict[str, Tensor]:
        """Features by front end's name, as `extract` gives them, of rows (B, F) of `flat_features`."""
        names = self._used_front_ends()
        sizes = [self.spec.segments * math.prod(self.feature_shapes[name]) for name in names]
        return {
            name: part.reshape(-1, *self.feature_shapes[name])
            for name, part in zip(names, flat.split(sizes, dim=1), strict=True)
        }

    def predict_flat(self, flat: Tensor) -> DetectorOutput:
        """The mixture's output for rows (B, F) of `flat_features`.

        Raises:
            ConfigurationError: if the gate sees the waveform, which is not among them.
        """
        if self.mixture.gate.sees == "waveform" and any(True for _ in self.mixture.gate.parameters()):
            raise ConfigurationError(
                f"gate {self.spec.gate.name!r} sees the waveform, which cached features do not hold; "
                "set training.cache_copies=0"
            )
        features = self.unflattened(flat)
        by_expert = {name: features[item.front_end] for name, item in self.spec.experts.items()}
        own = self.spec.gate_front_end
        seen = flat if self.mixture.gate.sees == "waveform" else None if own is None else features[own]
        return self._average_segments(self._with_strangeness(self.mixture(by_expert, seen), features))

    def _skips_experts(self) -> bool:
        # A graph that is traced has no data to choose by; there all experts run, to the same logit.
        if self.runs_all or not self.mixture.skips_unselected or torch.compiler.is_compiling():
            return False
        return not (self.training and self.mixture.router.train_all)

    def _prepared(self, windows: Tensor) -> Tensor:
        if windows.ndim != 2 or windows.shape[1] != self.spec.window_samples:
            raise ConfigurationError(
                f"windows must have shape (B, {self.spec.window_samples}), not {tuple(windows.shape)}"
            )
        if self.spec.level_dbfs is not None:
            windows = normalise_level(windows, self.spec.level_dbfs)
        return windows.reshape(-1, self.spec.segment_samples)

    def _with_strangeness(self, output: DetectorOutput, features: Mapping[str, Tensor]) -> DetectorOutput:
        if self.familiarity is not None and not self.training:
            output.strangeness = self.familiarity(features[str(self.spec.familiarity)])
        return output

    def _average_segments(self, output: DetectorOutput) -> DetectorOutput:
        return output if self.spec.segments == 1 else output.averaged(self.spec.segments)

    def _forward_selected(self, windows: Tensor, features_by_name: Mapping[str, Tensor]) -> DetectorOutput:
        """Run each front end and each expert on the windows that the gate chose it for, and on no others.

        A front end that the gate sees runs once, on all windows; one whose features are given does not run.
        """
        own = self.spec.gate_front_end
        if own is not None and own not in features_by_name:
            features_by_name = {own: self.front_ends[own](windows)}
        gate_logits = self.mixture.gate(windows if own is None else features_by_name[own])
        weights = self.mixture.router(gate_logits)
        by_expert, idle = self._extract_selected(windows, features_by_name, weights > 0)
        output = self.mixture.forward_selected(by_expert, gate_logits, weights)
        if self.training:
            output.logits = output.logits + zero_anchor(idle)
        return output

    def _extract_selected(
        self, windows: Tensor, features_by_name: Mapping[str, Tensor], chosen: Tensor
    ) -> tuple[dict[str, Tensor], list[nn.Module]]:
        """Features for each expert of the windows it was `chosen` for (B, E), and front ends that did not run."""
        columns = dict(zip(self.spec.experts, chosen.unbind(dim=1), strict=True))
        by_expert: dict[str, Tensor] = {}
        idle: list[nn.Module] = []
        for name, front_end in self.front_ends.items():
            its_experts = [expert for expert, item in self.spec.experts.items() if item.front_end == name]
            wanted = [columns[expert] for expert in its_experts]
            needed = torch.stack(wanted).any(dim=0) if wanted else torch.zeros_like(chosen[:, 0])
            if name in features_by_name:
                features, needed = features_by_name[name], torch.ones_like(needed)
            elif needed.any():
                features = front_end(windows if needed.all() else windows[needed])
            else:
                idle.append(front_end)
                continue
            for expert, column in zip(its_experts, wanted, strict=True):
                mine = column[needed]
                by_expert[expert] = features if mine.all() else features[mine]
        return by_expert, idle
