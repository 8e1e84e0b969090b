"""fairseq checkpoints of wav2vec 2.0, XLS-R, HuBERT and WavLM, converted to the Hugging Face file format."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from veravox.errors import CheckpointError, ConfigurationError, OutputError, first_few, require
from veravox.files import write_json
from veravox.models.pretrained import EXTRA

HEADS = ("quantizer.", "project_q.", "final_proj.", "label_embs_concat", "w2v_encoder.proj.")
"""What pretraining adds on top of the encoder; left behind."""

NAMES = (
    (r"feature_extractor\.conv_layers\.(\d+)\.0\.(weight|bias)", r"feature_extractor.conv_layers.\1.conv.\2"),
    (
        r"feature_extractor\.conv_layers\.(\d+)\.2(?:\.1)?\.(\w+)",
        r"feature_extractor.conv_layers.\1.layer_norm.\2",
    ),
    (r"post_extract_proj\.(\w+)", r"feature_projection.projection.\1"),
    (r"layer_norm\.(\w+)", r"feature_projection.layer_norm.\1"),
    (r"mask_emb", r"masked_spec_embed"),
    (r"encoder\.pos_conv\.0\.weight_g", r"encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"encoder\.pos_conv\.0\.weight_v", r"encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"encoder\.pos_conv\.0\.bias", r"encoder.pos_conv_embed.conv.bias"),
    (r"encoder\.layer_norm\.(\w+)", r"encoder.layer_norm.\1"),
    (
        r"encoder\.layers\.(\d+)\.self_attn\.(k_proj|v_proj|q_proj|out_proj)\.(\w+)",
        r"encoder.layers.\1.attention.\2.\3",
    ),
    (
        r"encoder\.layers\.(\d+)\.self_attn\.grep_linear\.(\w+)",
        r"encoder.layers.\1.attention.gru_rel_pos_linear.\2",
    ),
    (r"encoder\.layers\.(\d+)\.self_attn\.grep_a", r"encoder.layers.\1.attention.gru_rel_pos_const"),
    (
        r"encoder\.layers\.(\d+)\.self_attn\.relative_attention_bias\.weight",
        r"encoder.layers.\1.attention.rel_attn_embed.weight",
    ),
    (r"encoder\.layers\.(\d+)\.self_attn_layer_norm\.(\w+)", r"encoder.layers.\1.layer_norm.\2"),
    (r"encoder\.layers\.(\d+)\.fc1\.(\w+)", r"encoder.layers.\1.feed_forward.intermediate_dense.\2"),
    (r"encoder\.layers\.(\d+)\.fc2\.(\w+)", r"encoder.layers.\1.feed_forward.output_dense.\2"),
    (r"encoder\.layers\.(\d+)\.final_layer_norm\.(\w+)", r"encoder.layers.\1.final_layer_norm.\2"),
)


def convert_fairseq(
    path: str | os.PathLike[str], configuration: str | os.PathLike[str], out: str | os.PathLike[str]
) -> Path:
    """Write the encoder of a fairseq checkpoint as a folder that the front end `ssl` takes as its model.

    Args:
        path: `.pt` file, as the authors of wav2vec 2.0, XLS-R, HuBERT or WavLM published it.
        configuration: `config.json` of the same model in the Hugging Face format, or the folder that holds it.
        out: folder to write: `config.json` and `model.safetensors`.
    Raises:
        CheckpointError: if the file is none of these, or differs from the configuration; each difference is named.
        ConfigurationError: if the configuration cannot be read.
    """
    config = read_configuration(Path(configuration))
    weights, settings = _read(Path(path))
    differences = configuration_differences(weights, settings, config)
    if differences:
        raise CheckpointError(
            f"{str(path)!r} does not match {str(configuration)!r}: {'; '.join(differences)}; "
            "use the configuration of the same model"
        )
    renamed = rename(weights, path)
    _check_fit(renamed, config, path)
    return _write(renamed, config, Path(out))


def read_configuration(path: Path) -> dict[str, Any]:
    """A `config.json` as plain data, from the file or its folder."""
    file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"no readable config.json at {str(path)!r}: {error}") from error
    if not isinstance(config, dict) or config.get("model_type") not in ("wav2vec2", "hubert", "wavlm"):
        raise ConfigurationError(
            f"{str(file)!r} is not the configuration of a wav2vec 2.0, XLS-R, HuBERT or WavLM model"
        )
    return config


def configuration_differences(
    weights: Mapping[str, Tensor], settings: Mapping[str, Any], config: Mapping[str, Any]
) -> list[str]:
    """Where a fairseq model and a Hugging Face configuration disagree, one sentence a setting.

    What the weights themselves tell is read from them; what they do not (heads, order of norms) from the
    settings stored beside them, where those are present.
    """
    full = require("transformers", EXTRA).AutoConfig.for_model(**config).to_dict()
    found = _told_by_weights(weights)
    told = {"encoder_attention_heads": "num_attention_heads", "layer_norm_first": "do_stable_layer_norm"}
    is_wavlm = "num_buckets" in found
    if is_wavlm:
        told["max_distance"] = "max_bucket_distance"
    found |= {theirs: settings[ours] for ours, theirs in told.items() if settings.get(ours) is not None}
    differences = [
        f"{name} is {value!r} in the checkpoint, {full.get(name)!r} in the configuration"
        for name, value in found.items()
        if full.get(name) != value
    ]
    if is_wavlm != (full["model_type"] == "wavlm"):
        here = "has WavLM's relative positions" if is_wavlm else "has no relative positions"
        differences.insert(0, f"the checkpoint {here}, model_type in the configuration is {full['model_type']!r}")
    return differences


def _told_by_weights(weights: Mapping[str, Tensor]) -> dict[str, Any]:
    def count(pattern: str) -> int:
        return len({match.group(1) for name in weights if (match := re.match(pattern, name))})

    convolutions = count(r"feature_extractor\.conv_layers\.(\d+)\.0\.weight")
    if not convolutions or "encoder.layers.0.fc1.weight" not in weights:
        raise CheckpointError("these are not the weights of a fairseq wav2vec 2.0, HuBERT or WavLM encoder")
    first = [weights[f"feature_extractor.conv_layers.{index}.0.weight"] for index in range(convolutions)]
    positions = weights.get("encoder.pos_conv.0.weight_v")
    normalised = "feature_extractor.conv_layers.1.2.1.weight" in weights
    found: dict[str, Any] = {
        "hidden_size": weights["encoder.layers.0.fc1.weight"].shape[1],
        "intermediate_size": weights["encoder.layers.0.fc1.weight"].shape[0],
        "num_hidden_layers": count(r"encoder\.layers\.(\d+)\.fc1\.weight"),
        "conv_dim": [tensor.shape[0] for tensor in first],
        "conv_kernel": [tensor.shape[2] for tensor in first],
        "feat_extract_norm": "layer" if normalised else "group",
        "conv_bias": "feature_extractor.conv_layers.0.0.bias" in weights,
    }
    relative = weights.get("encoder.layers.0.self_attn.relative_attention_bias.weight")
    if relative is not None:
        found["num_buckets"], found["num_attention_heads"] = relative.shape
    if positions is not None:
        found["num_conv_pos_embeddings"] = positions.shape[2]
        found["num_conv_pos_embedding_groups"] = positions.shape[0] // positions.shape[1]
    return found


def rename(weights: Mapping[str, Tensor], path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Weights under their Hugging Face names, without the heads of pretraining; an unknown name is an error."""
    renamed, unknown = {}, []
    for name, tensor in weights.items():
        if name.startswith(HEADS):
            continue
        for pattern, target in NAMES:
            match = re.fullmatch(pattern, name)
            if match:
                renamed[match.expand(target)] = tensor
                break
        else:
            unknown.append(name)
    if unknown:
        raise CheckpointError(f"{str(path)!r} holds weights of no known place: {first_few(unknown)}")
    return renamed


def _check_fit(weights: Mapping[str, Tensor], config: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    transformers = require("transformers", EXTRA)
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**config))
    expected = {name: tensor.shape for name, tensor in model.state_dict().items()}
    missing = [name for name in expected if name not in weights and name != "masked_spec_embed"]
    extra = [name for name in weights if name not in expected and name != "masked_spec_embed"]
    misshaped = [name for name, shape in expected.items() if name in weights and weights[name].shape != shape]
    problems = {"missing": missing, "not expected": extra, "of another shape": misshaped}
    found = [f"{what}: {first_few(names)}" for what, names in problems.items() if names]
    if found:
        raise CheckpointError(f"{str(path)!r} does not fit the configuration; {'; '.join(found)}")


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not file.is_file():
        raise CheckpointError(f"no file at {str(file)!r}")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of the foreign reader
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f"{str(file)!r} is no readable fairseq checkpoint: {lines[0]}") from error
    if not isinstance(content, Mapping) or not isinstance(content.get("model"), Mapping):
        raise CheckpointError(f"{str(file)!r} is no fairseq checkpoint: it has no part 'model'")
    prefixes: Iterable[str] = ("w2v_encoder.w2v_model.", "w2v_model.")
    weights = {}
    for name, tensor in content["model"].items():
        for prefix in prefixes:
            name = name.removeprefix(prefix)
        weights[name] = tensor
    return weights, _settings(content)


def _settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """The model's settings, wherever the version of fairseq put them; empty if it stored none.

    WavLM's are `cfg` itself, of other models a part of it.
    """
    described = content.get("cfg") or {}
    model = described.get("model") if isinstance(described, Mapping) else None
    for candidate in (model, content.get("args"), described):
        if isinstance(candidate, argparse.Namespace):
            return vars(candidate)
        if isinstance(candidate, Mapping):
            return dict(candidate)
    return {}


def _write(weights: Mapping[str, Tensor], config: Mapping[str, Any], out: Path) -> Path:
    import safetensors.torch

    from veravox.files import write_bytes

    if out.exists() and not out.is_dir():
        raise OutputError(f"{str(out)!r} is a file; name a folder")
    plain = {name: tensor.float().contiguous().clone() for name, tensor in weights.items()}
    write_bytes(out / "model.safetensors", safetensors.torch.save(plain, {"format": "pt"}))
    write_json(out / "config.json", dict(config))
    return out
