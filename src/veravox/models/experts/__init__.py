"""Experts: features in, a logit and an embedding out. One file each."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from veravox.registry import Registry


@dataclass
class ExpertOutput:
    """What an expert says of B windows.

    Attributes:
        logits: (B,) = bona fide minus spoof.
        embeddings: (B, D).
        class_logits: (B, 2) = spoof, bona fide; None where the network has one logit.
    """

    logits: Tensor
    embeddings: Tensor
    class_logits: Tensor | None = None


@dataclass(frozen=True)
class OfficialWeights:
    """How the published weights of a network are read into an expert.

    Args:
        names: each parameter's name in the published file, to its name in the expert.
        options: of the expert, as these weights need them.
        window_samples: length of the windows they were trained on.
    """

    names: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    window_samples: int = 64600


class Expert(nn.Module, abc.ABC):
    """Judges features. It may be supplied `feature_shape`, the shape of one window's features.

    Attributes:
        embedding_size: D of its embeddings; set by the constructor.
        inductive_bias: what its receptive field and structure can notice, in one sentence.
        window_samples: the only window length it works with; None if any.
        official: how to read the weights that its authors published; None if they cannot be imported.
    """

    embedding_size: int
    inductive_bias: ClassVar[str]
    window_samples: int | None = None
    official: ClassVar[OfficialWeights | None] = None

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        """Options of a small one, as tests build it; what it needs on disk it writes to `folder`."""
        return {}

    @abc.abstractmethod
    def forward(self, features: Tensor) -> ExpertOutput:
        """Judge the features of B windows."""


def two_class_output(class_logits: Tensor, embeddings: Tensor) -> ExpertOutput:
    """The output of a network with a (spoof, bona fide) head: one logit, one sign."""
    return ExpertOutput(class_logits[:, 1] - class_logits[:, 0], embeddings, class_logits)


EXPERTS: Registry[Expert] = Registry("expert", "veravox.models.experts", Expert)

__all__ = ["EXPERTS", "Expert", "ExpertOutput", "OfficialWeights", "two_class_output"]
