"""Pretrained speech encoders in the Hugging Face file format, from a hub name or a local folder."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import nn

from veravox.errors import CheckpointError, ConfigurationError, VeravoxError, first_few, require, suggest

EXTRA = "ssl"
UNTRAINED = {
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
    "layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "gradient_checkpointing": False,
}
"""What pretraining adds and detection leaves out: random masks and left-out layers."""

Training = Literal["frozen", "fine_tuned", "lora"]


def load_encoder(model: str, configuration: Mapping[str, Any] | None, kinds: tuple[str, ...]) -> nn.Module:
    """An encoder with its published weights; or, where its configuration is given, an empty one to be filled.

    Args:
        model: a hub name (`facebook/wav2vec2-base`) or a folder with `config.json` and weights.
        configuration: of a model whose weights come from a veravox checkpoint; nothing is then looked up.
        kinds: accepted values of the configuration's `model_type`.
    Raises:
        ConfigurationError: if the model cannot be found, or is of another kind.
        CheckpointError: if its weights are damaged or do not fit its configuration.
        MissingDependencyError: if transformers is not installed.
    """
    transformers = require("transformers", EXTRA)
    if configuration is not None:
        settings = dict(configuration)
        kind = _checked_kind(settings.pop("model_type", None), model, kinds)
        config = transformers.AutoConfig.for_model(kind, **settings)
        return transformers.AutoModel.from_config(config).float()
    folder = _folder_of(model)
    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"model {model!r} has no readable config.json: {_first_line(error)}") from error
    _checked_kind(config.model_type, model, kinds)
    for name, value in UNTRAINED.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return _loaded(transformers, folder, config, model)


def _loaded(transformers: Any, folder: Path, config: Any, model: str) -> nn.Module:
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        encoder, report = transformers.AutoModel.from_pretrained(
            folder, config=config, local_files_only=True, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except VeravoxError:
        raise
    except Exception as error:  # whatever a damaged file makes of the foreign reader
        raise CheckpointError(f"model {model!r}: its weights cannot be read: {_first_line(error)}") from error
    finally:
        transformers.logging.set_verbosity(verbosity)
        transformers.logging.enable_progress_bar()
    mismatched = sorted(str(item[0] if isinstance(item, tuple) else item) for item in report["mismatched_keys"])
    if mismatched or report["missing_keys"]:
        raise CheckpointError(
            f"model {model!r}: its weights do not fit its config.json; of another shape: "
            f"{first_few(mismatched) or 'none'}; missing: {first_few(sorted(report['missing_keys'])) or 'none'}"
        )
    return encoder.float()


def write_random_encoder(folder: Path, kind: str, settings: Mapping[str, Any]) -> str:
    """Write an encoder of random weights in the Hugging Face format, unless it is there; its folder.

    Args:
        kind: the configuration's `model_type`.
        settings: the configuration itself.
    Raises:
        MissingDependencyError: if transformers is not installed.
    """
    transformers = require("transformers", EXTRA)
    if not (folder / "config.json").exists():
        config = transformers.AutoConfig.for_model(kind, **settings)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    return str(folder)


def portable_configuration(encoder: nn.Module) -> dict[str, Any]:
    """An encoder's configuration as plain data, from which `load_encoder` builds an empty one."""
    settings = encoder.config.to_dict()  # type: ignore[union-attr,operator]
    left_out = ("transformers_version", "_name_or_path", "torch_dtype", "dtype", "architectures")
    return {name: value for name, value in settings.items() if name not in left_out and value is not None}


def prepare(encoder: nn.Module, train: Training, lora_rank: int) -> nn.Module:
    """Mark what of an encoder may learn: nothing, everything, or low-rank additions to its attention."""
    if train == "fine_tuned":
        return encoder
    encoder.requires_grad_(False)
    if train == "frozen":
        return encoder.eval()
    if lora_rank < 1:
        raise ConfigurationError(f"lora_rank must be at least 1, not {lora_rank}")
    peft = require("peft", EXTRA)
    lora = peft.LoraConfig(r=lora_rank, lora_alpha=2 * lora_rank, target_modules=["q_proj", "v_proj"])
    with warnings.catch_warnings():
        # peft asks transformers under a name that transformers has since given up.
        warnings.simplefilter("ignore", FutureWarning)
        return peft.get_peft_model(encoder, lora)


def _folder_of(model: str) -> Path:
    if Path(model).is_dir():
        return Path(model)
    hub = require("huggingface_hub", EXTRA)
    patterns = ["*.json", "*.safetensors"]
    try:
        return _with_weights(Path(hub.snapshot_download(model, allow_patterns=patterns, local_files_only=True)))
    except (OSError, ValueError):
        pass
    try:
        folder = Path(hub.snapshot_download(model, allow_patterns=patterns))
        if not any(folder.glob("*.safetensors")):  # older models; read as plain weights, no code is run
            folder = Path(hub.snapshot_download(model, allow_patterns=["*.json", "pytorch_model*.bin"]))
        return _with_weights(folder)
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise ConfigurationError(
            f"model {model!r} is no local folder, is not in the local cache, and the hub does not give it "
            f"({_first_line(error)}); on a connected machine run 'hf download {model} --local-dir FOLDER', "
            "copy FOLDER here and name it as the model"
        ) from error


def _with_weights(folder: Path) -> Path:
    if not any([*folder.glob("*.safetensors"), *folder.glob("pytorch_model*.bin")]):
        raise FileNotFoundError("no weights among its files")
    return folder


def _checked_kind(kind: Any, model: str, kinds: tuple[str, ...]) -> str:
    if kind not in kinds:
        raise ConfigurationError(f"model {model!r} is of kind {kind!r}; {suggest(str(kind), kinds)}")
    return str(kind)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
