"""The one map from parameter names of earlier checkpoints to today's."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

RENAMED: Mapping[str, Mapping[str, str]] = {
    "AttentionGate": {"weigh": "head", "identity": "expert_embedding", "places": "segment_embedding"},
    "ConcatGate": {"weigh": "head"},
    "EmbeddingGate": {
        "weigh": "head",
        "enter_weight": "projection_weight",
        "enter_bias": "projection_bias",
        "normalise": "norm",
    },
    "FeaturesConvGate": {"weigh": "head", "listen": "conv"},
    "InputLinearGate": {"weigh": "head"},
    "LCNNLSTM": {"memory": "lstm"},
    "Perceptron": {"decide": "head"},
    "RawNet2": {"memory": "gru", "before_memory": "norm_gru"},
    "ScaledBlock": {"enter": "conv1", "leave": "conv2", "enter_normalise": "norm1", "normalise": "norm2"},
    "EncoderBlock": {"enter": "conv1", "leave": "conv2"},
    "NodeProjection": {"mixed": "proj_attended", "own": "proj_self"},
    "MixedGraphAttention": {
        "enter_temporal": "proj_temporal",
        "enter_spectral": "proj_spectral",
        "mixed_master": "proj_attended_master",
        "own_master": "proj_self_master",
    },
}
"""By class: attributes of checkpoint format 1, and what they are called since."""


def with_current_keys(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """Weights of any format under the names that `module.state_dict()` has today; unknown names stay."""
    renamed = dict(weights)
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        for old, new in RENAMED.get(type(part).__name__, {}).items():
            for key in [key for key in renamed if key == prefix + old or key.startswith(f"{prefix}{old}.")]:
                renamed[prefix + new + key[len(prefix + old) :]] = renamed.pop(key)
    return renamed
