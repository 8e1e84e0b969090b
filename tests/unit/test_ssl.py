"""Pretrained encoders as front ends: tiny random models, saved and loaded as the published ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from veravox.apps.cli import main
from veravox.errors import CheckpointError, ConfigurationError, MissingDependencyError
from veravox.models import FRONT_ENDS, Checkpoint, DetectorModel, DetectorSpec, read_checkpoint, write_checkpoint
from veravox.models.fairseq import convert_fairseq, rename

transformers = pytest.importorskip("transformers", reason="the extra 'ssl' is not installed")

SAMPLES = 4800
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 3, 3],
    "conv_stride": [5, 8, 8],
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": ("wav2vec2", SIZES),
    "large": ("wav2vec2", SIZES | LARGE),
    "wavlm": ("wavlm", SIZES),
    "hubert": ("hubert", SIZES),
    "whisper": (
        "whisper",
        {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2}
        | {"decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "vocab_size": 60}
        | {"max_source_positions": 100, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
        | {"decoder_start_token_id": 1, "begin_suppress_tokens": None},
    ),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    saved = {}
    torch.manual_seed(0)
    for name, (kind, settings) in CONFIGURATIONS.items():
        model = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **settings))
        model.save_pretrained(folder / name)
        saved[name] = folder / name
    return saved


@pytest.fixture
def windows() -> torch.Tensor:
    return 0.1 * torch.randn(3, SAMPLES, generator=torch.Generator().manual_seed(1))


def detector_of(model: Path, front_end: str = "ssl", head: str = "linear", **options: Any) -> DetectorModel:
    torch.manual_seed(4)
    description = {
        "front_ends": {"speech": {"name": front_end, "model": str(model), **options}},
        "experts": {"judge": {"front_end": "speech", "name": "ssl", "head": head, "hidden": 24}},
        "window_s": SAMPLES / 16000,
    }
    return DetectorModel(DetectorSpec.parse(description)).eval()


@pytest.mark.parametrize("name", ["base", "large", "wavlm", "hubert"])
def test_features_are_the_encoders_last_hidden_states(name, models, windows):
    front_end = FRONT_ENDS["ssl"](model=str(models[name])).eval()
    original = transformers.AutoModel.from_pretrained(models[name]).eval()
    seen = windows
    if name == "large":
        seen = (windows - windows.mean(dim=1, keepdim=True)) / windows.std(dim=1, correction=0, keepdim=True)
    with torch.inference_mode():
        expected = original(seen).last_hidden_state.transpose(1, 2)
        torch.testing.assert_close(front_end(windows), expected, atol=1e-4, rtol=1e-4)


def test_whispers_features_are_its_own_and_it_hears_windows_of_any_length(models, windows):
    front_end = FRONT_ENDS["whisper"](model=str(models["whisper"])).eval()
    extractor = transformers.WhisperFeatureExtractor()
    theirs = extractor._np_extract_fbank_features(windows.numpy(), "cpu")
    torch.testing.assert_close(front_end.log_mel(windows), torch.from_numpy(theirs), atol=1e-3, rtol=1e-3)
    original = transformers.AutoModel.from_pretrained(models["whisper"]).encoder.eval()
    full = 0.1 * torch.randn(2, 32000)  # the 100 positions of this model
    with torch.inference_mode():
        expected = original(front_end.log_mel(full)).last_hidden_state.transpose(1, 2)
        torch.testing.assert_close(front_end(full), expected, atol=1e-4, rtol=1e-4)
        assert front_end(windows).shape == (3, 16, 15)
    with pytest.raises(ConfigurationError, match="longer than the 2 s"):
        front_end(torch.zeros(1, 48000))


@pytest.mark.parametrize("head", ["linear", "aasist"])
@pytest.mark.parametrize("train", ["frozen", "fine_tuned", "lora"])
def test_gradient_reaches_what_is_to_learn_and_nothing_else(train, head, models, windows):
    if train == "lora":
        pytest.importorskip("peft", reason="the extra 'ssl' is not installed")
    detector = detector_of(models["large"], head=head, train=train, layers="sum").train()
    for name, parameter in detector.named_parameters():
        if "lora_B" in name:  # zero at the start, which would hide the gradient of its other half
            torch.nn.init.normal_(parameter, std=0.1)
    detector(windows).logits.square().sum().backward()
    reached = {name for name, parameter in detector.named_parameters() if parameter.grad is not None}
    assert detector.trainable == reached
    encoder = {name for name in reached if "encoder" in name and name.startswith("front_ends")}
    assert bool(encoder) == (train != "frozen")
    assert all("lora_" in name for name in encoder) or train == "fine_tuned"
    assert "front_ends.speech.layer_weights" in reached
    assert detector.front_ends["speech"].encoder.training == (train != "frozen")


@pytest.mark.parametrize(
    ("name", "front_end", "options"),
    [
        ("base", "ssl", {"layers": "sum"}),
        ("large", "ssl", {"train": "lora", "lora_rank": 2}),
        ("wavlm", "ssl", {"train": "fine_tuned"}),
        ("hubert", "ssl", {}),
        ("whisper", "whisper", {}),
    ],
)
def test_a_checkpoint_needs_no_other_file(name, front_end, options, models, windows, tmp_path, monkeypatch):
    if options.get("train") == "lora":
        pytest.importorskip("peft", reason="the extra 'ssl' is not installed")
    detector = detector_of(models[name], front_end, **options)
    for label, parameter in detector.named_parameters():
        if "lora_B" in label:
            torch.nn.init.normal_(parameter, std=0.1)
    path = write_checkpoint(Checkpoint(detector), tmp_path)
    monkeypatch.setattr("veravox.models.pretrained._folder_of", lambda model: pytest.fail(f"looked for {model}"))
    again = read_checkpoint(path).model
    with torch.inference_mode():
        ours, theirs, alone = detector(windows), again(windows), detector(windows[1:2])
    assert torch.equal(ours.logits, theirs.logits)
    torch.testing.assert_close(ours.logits[1:2], alone.logits, atol=1e-5, rtol=0)


def test_a_model_that_cannot_be_had_is_named_with_what_to_do(monkeypatch, models, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigurationError, match="hf download nobody/nothing --local-dir"):
        FRONT_ENDS["ssl"](model="nobody/nothing")
    with pytest.raises(ConfigurationError, match="of kind 'whisper'"):
        FRONT_ENDS["ssl"](model=str(models["whisper"]))
    with pytest.raises(ConfigurationError, match=r"no readable config\.json"):
        FRONT_ENDS["ssl"](model=str(tmp_path))


def test_weights_that_do_not_fit_their_configuration_are_refused(models, tmp_path):
    config = json.loads((models["base"] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 32}))
    weights = (models["base"] / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(CheckpointError, match="do not fit its config"):
        FRONT_ENDS["ssl"](model=str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        FRONT_ENDS["ssl"](model=str(tmp_path))


def test_without_transformers_the_extra_is_named(monkeypatch, models):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingDependencyError, match=r"veravox\[ssl\]"):
        FRONT_ENDS["ssl"](model=str(models["base"]))


def fairseq_name(name: str, layer_norm: bool) -> str:
    """The name that fairseq gives a weight."""
    swaps = [
        ("feature_projection.projection", "post_extract_proj"),
        ("feature_projection.layer_norm", "layer_norm"),
        ("masked_spec_embed", "mask_emb"),
        ("pos_conv_embed.conv.parametrizations.weight.original0", "pos_conv.0.weight_g"),
        ("pos_conv_embed.conv.parametrizations.weight.original1", "pos_conv.0.weight_v"),
        ("pos_conv_embed.conv.bias", "pos_conv.0.bias"),
        ("feed_forward.intermediate_dense", "fc1"),
        ("feed_forward.output_dense", "fc2"),
        ("attention.gru_rel_pos_linear", "attention.grep_linear"),
        ("attention.gru_rel_pos_const", "attention.grep_a"),
        ("attention.rel_attn_embed", "attention.relative_attention_bias"),
        ("attention.", "self_attn."),
    ]
    if name.startswith("feature_extractor"):
        return name.replace(".conv.", ".0.").replace(".layer_norm.", ".2.1." if layer_norm else ".2.")
    if name.startswith("encoder.layers") and ".layer_norm." in name:
        return name.replace(".layer_norm.", ".self_attn_layer_norm.")
    for theirs, ours in swaps:
        name = name.replace(theirs, ours)
    return name


@pytest.fixture
def fairseq_file(models, tmp_path):
    def write(name: str, **settings: Any) -> Path:
        weights = transformers.AutoModel.from_pretrained(models[name]).state_dict()
        named = {fairseq_name(key, name == "large"): tensor for key, tensor in weights.items()}
        named |= {"quantizer.vars": torch.zeros(2), "final_proj.weight": torch.zeros(2, 2)}
        stored = {"encoder_attention_heads": 2, "layer_norm_first": name == "large"} | settings
        path = tmp_path / f"{name}.pt"
        torch.save({"model": named, "cfg": stored if name == "wavlm" else {"model": stored}}, path)
        return path

    return write


@pytest.mark.parametrize("name", ["base", "large", "hubert", "wavlm"])
def test_a_fairseq_checkpoint_converts_to_the_same_encoder(name, fairseq_file, models, tmp_path, windows):
    folder = convert_fairseq(fairseq_file(name), models[name], tmp_path / "converted")
    with torch.inference_mode():
        ours = FRONT_ENDS["ssl"](model=str(folder)).eval()(windows)
        theirs = FRONT_ENDS["ssl"](model=str(models[name])).eval()(windows)
    assert torch.equal(ours, theirs)


def test_the_command_converts_a_fairseq_checkpoint(fairseq_file, models, tmp_path, capsys):
    file, out = str(fairseq_file("base")), str(tmp_path / "converted")
    with pytest.raises(SystemExit) as stopped:
        main(["import-checkpoint", file, "--expert", "ssl", "--out", out])
    assert stopped.value.code == 2
    assert "--config" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["import-checkpoint", file, "--expert", "ssl", "--config", str(models["base"]), "--out", out])
    assert stopped.value.code == 0
    assert FRONT_ENDS["ssl"](model=out) is not None


@pytest.mark.parametrize(
    ("name", "config", "settings", "named"),
    [
        ("large", "base", {}, "feat_extract_norm is 'layer' in the checkpoint, 'group' in the configuration"),
        ("large", "base", {}, "conv_bias is True in the checkpoint, False in the configuration"),
        ("large", "large", {"encoder_attention_heads": 4}, "num_attention_heads is 4 in the checkpoint, 2 in"),
        (
            "large",
            "large",
            {"layer_norm_first": False},
            "do_stable_layer_norm is False in the checkpoint, True in",
        ),
        ("wavlm", "hubert", {}, "has WavLM's relative positions, model_type in the configuration is 'hubert'"),
        ("hubert", "wavlm", {}, "has no relative positions, model_type in the configuration is 'wavlm'"),
        ("wavlm", "wavlm", {"max_distance": 1280}, "max_bucket_distance is 1280 in the checkpoint, 800 in"),
    ],
)
def test_a_configuration_that_does_not_match_is_refused_with_the_difference(
    name, config, settings, named, fairseq_file, models, tmp_path
):
    with pytest.raises(CheckpointError, match=named):
        convert_fairseq(fairseq_file(name, **settings), models[config], tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_a_weight_of_no_known_place_is_named():
    with pytest.raises(CheckpointError, match=r"no known place: 'encoder\.novelty'"):
        rename({"encoder.novelty": torch.zeros(1)}, "model.pt")
