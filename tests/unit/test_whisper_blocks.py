"""Whisper's first blocks: equal to the published encoder, read from every form its weights come in."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from veravox.errors import CheckpointError, ConfigurationError
from veravox.models import Checkpoint, DetectorModel, DetectorSpec, read_checkpoint, write_checkpoint
from veravox.models.ctranslate2 import read_weights
from veravox.models.front_ends.whisper_blocks import WhisperBlocks, slaney_filters, statistics_over_time

SIZE, LAYERS = 64, 2


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory) -> Path:
    """Small random blocks under the names that the hub's files give them."""
    torch.manual_seed(3)
    blocks = WhisperBlocks(blocks=LAYERS, size=SIZE)
    names = {
        "normalise_attention": "self_attn_layer_norm",
        "attended": "self_attn.out_proj",
        "normalise_feed_forward": "final_layer_norm",
        "widen": "fc1",
        "narrow": "fc2",
    }
    found = {}
    for key, tensor in blocks.state_dict().items():
        root, index, *rest = key.split(".")
        if root == "stem":
            found[f"conv{int(index) + 1}.{rest[0]}"] = tensor
        elif rest[0] == "project":
            for part, own in zip("qkv", tensor.chunk(3), strict=True):
                if (part, rest[1]) != ("k", "bias"):  # published keys have none
                    found[f"layers.{index}.self_attn.{part}_proj.{rest[1]}"] = own.contiguous()
        else:
            found[f"layers.{index}.{names[rest[0]]}.{rest[1]}"] = tensor
    folder = tmp_path_factory.mktemp("whisper")
    file = folder / "model.safetensors"
    safetensors.torch.save_file({f"model.encoder.{name}": tensor for name, tensor in found.items()}, file)
    return folder


def windows() -> torch.Tensor:
    return 0.1 * torch.randn(2, 16000, generator=torch.Generator().manual_seed(0))


def ctranslate2_file(path: Path, variables: dict[str, np.ndarray], version: int = 6) -> Path:
    """What CTranslate2 writes, by its format."""
    kinds = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}

    def text(value: str) -> bytes:
        raw = value.encode() + b"\0"
        return struct.pack("<H", len(raw)) + raw

    parts = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<II", 3, len(variables))]
    for name, values in variables.items():
        shape = struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        parts += [text(name), shape, struct.pack("<BI", kinds[values.dtype.name], values.nbytes), values.tobytes()]
    path.write_bytes(b"".join([*parts, struct.pack("<I", 0)]))
    return path


def as_ctranslate2(blocks: WhisperBlocks) -> dict[str, np.ndarray]:
    """The same weights under CTranslate2's names."""
    names = {
        "normalise_attention": "self_attention/layer_norm",
        "project": "self_attention/linear_0",
        "attended": "self_attention/linear_1",
        "normalise_feed_forward": "ffn/layer_norm",
        "widen": "ffn/linear_0",
        "narrow": "ffn/linear_1",
    }
    found = {}
    for key, tensor in blocks.state_dict().items():
        root, index, *rest = key.split(".")
        if root == "stem":
            found[f"encoder/conv{int(index) + 1}/{rest[0]}"] = tensor.numpy()
            continue
        kind = {"weight": "gamma", "bias": "beta"}[rest[1]] if rest[0].startswith("normalise") else rest[1]
        found[f"encoder/layer_{index}/{names[rest[0]]}/{kind}"] = tensor.numpy()
    return found


def test_all_blocks_of_a_hub_folder_give_what_transformers_gives(tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra 'ssl' is not installed")
    from veravox.models.front_ends.whisper import Whisper

    torch.manual_seed(3)
    layers = {"d_model": SIZE, "encoder_layers": LAYERS, "decoder_layers": 1, "max_source_positions": 1500}
    heads = {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    rest = {"encoder_ffn_dim": 4 * SIZE, "decoder_ffn_dim": 64, "vocab_size": 60, "pad_token_id": 0}
    model = transformers.WhisperModel(transformers.WhisperConfig(**layers, **heads, **rest))
    for name, parameter in model.named_parameters():
        if "embed_positions" not in name:
            torch.nn.init.normal_(parameter, 1.0 if "norm.weight" in name else 0.0, 0.05)
    model.save_pretrained(tmp_path)
    published = Whisper(str(tmp_path)).eval()
    ours = WhisperBlocks(str(tmp_path), blocks=LAYERS)
    with torch.inference_mode():
        last = ours(windows()).transpose(1, 2)[..., -SIZE:]
        expected = published(windows()).transpose(1, 2)
        torch.testing.assert_close(published.encoder.layer_norm(last), expected, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(slaney_filters(), published.filters, atol=1e-7, rtol=1e-5)


def test_a_ctranslate2_file_whole_or_in_parts_gives_what_the_hub_folder_gives(hub_folder, tmp_path):
    ours = WhisperBlocks(str(hub_folder), blocks=LAYERS)
    file = ctranslate2_file(tmp_path / "model.bin", as_ctranslate2(ours))
    (tmp_path / "parts").mkdir()
    data = file.read_bytes()
    for number, part in enumerate((data[:1000], data[1000:]), start=1):
        (tmp_path / "parts" / f"model.bin.part{number}").write_bytes(part)
    for place in (tmp_path, tmp_path / "parts", file):
        again = WhisperBlocks(str(place), blocks=LAYERS)
        torch.testing.assert_close(again(windows()), ours(windows()), atol=0, rtol=0)


def test_int8_weights_are_read_with_their_scales(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    scale = 127.0 / np.abs(values).max(axis=1)
    quantised = np.round(values * scale[:, None]).astype(np.int8)
    file = ctranslate2_file(tmp_path / "model.bin", {"a": quantised, "a_scale": scale.astype(np.float32)})
    assert np.abs(read_weights([file])["a"] - values).max() <= 0.51 / scale.min()


@pytest.mark.parametrize("length", [0, 3, 40, 2000])
def test_a_file_that_is_cut_short_is_named(tmp_path, length):
    variables = {"encoder/conv1/bias": np.zeros(1000, np.float32)}
    file = ctranslate2_file(tmp_path / "model.bin", variables)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"model\.bin' (is cut short|is no CTranslate2)"):
        read_weights([file])


def test_another_version_or_type_is_refused(tmp_path):
    file = ctranslate2_file(tmp_path / "model.bin", {"a": np.zeros(3, np.float32)}, version=99)
    with pytest.raises(CheckpointError, match="found 99"):
        read_weights([file])


def test_missing_weights_say_where_to_get_them(tmp_path):
    for place in (None, str(tmp_path), str(tmp_path / "nowhere")):
        with pytest.raises(ConfigurationError, match="hf download openai/whisper-base"):
            WhisperBlocks(place)


def test_more_blocks_than_there_are_and_another_size_are_refused(hub_folder):
    with pytest.raises(CheckpointError, match=r"missing: 'layers\.2"):
        WhisperBlocks(str(hub_folder), blocks=LAYERS + 1)
    with pytest.raises(ConfigurationError, match="size 64, not 128"):
        WhisperBlocks(str(hub_folder), size=128)
    with pytest.raises(ConfigurationError, match="30 s"):
        WhisperBlocks(str(hub_folder))(torch.zeros(1, 31 * 16000))


def test_statistics_are_means_deviations_and_deviations_of_change(hub_folder):
    states = torch.randn(2, 9, 4, dtype=torch.float64)
    mean, deviation, change = statistics_over_time(states)
    torch.testing.assert_close(mean, states.mean(dim=1))
    torch.testing.assert_close(deviation, states.std(dim=1, correction=0))
    torch.testing.assert_close(change, states.diff(dim=1).std(dim=1, correction=0))
    plain = WhisperBlocks(str(hub_folder), blocks=1)
    pooled = WhisperBlocks(str(hub_folder), blocks=1, pooling="statistics")
    with torch.inference_mode():
        torch.testing.assert_close(pooled(windows())[:, :SIZE], plain(windows()).mean(dim=2)[:, :SIZE])
    assert pooled(windows()).shape == (2, 2 * 3 * SIZE)


def description(**options: object) -> DetectorSpec:
    front_end = {"name": "whisper_blocks", "blocks": 1, "pooling": "statistics", **options}
    experts = {"only": {"front_end": "heard", "name": "mlp", "hidden": [8]}}
    return DetectorSpec.parse({"front_ends": {"heard": front_end}, "experts": experts, "window_s": 1.0})


def test_a_checkpoint_needs_no_other_file_keeps_every_bit_and_gives_its_blocks_on(hub_folder, tmp_path):
    whole = DetectorModel(description(weights=str(hub_folder))).eval()
    with torch.no_grad():
        for parameter in whole.front_ends.parameters():
            parameter.copy_(parameter.half().float())  # as published weights are
    file = write_checkpoint(Checkpoint(whole), tmp_path / "detector.safetensors")
    again = read_checkpoint(file).model
    assert again.spec.front_ends["heard"].options["weights"] is None
    assert torch.equal(again(windows()).logits, whole(windows()).logits)
    numbers = sum(tensor.numel() for tensor in whole.front_ends.state_dict().values())
    assert file.stat().st_size < 2 * numbers + 4 * 30000
    lent = WhisperBlocks(str(file), blocks=1)
    for name, tensor in whole.front_ends["heard"].state_dict().items():
        assert torch.equal(lent.state_dict()[name], tensor)


def test_frozen_blocks_stay_in_evaluation_mode_and_fine_tuned_ones_learn(hub_folder):
    frozen = WhisperBlocks(str(hub_folder)).train()
    assert not frozen.training
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    tuned = WhisperBlocks(str(hub_folder), train="fine_tuned").train()
    tuned(windows()).square().mean().backward()
    assert all(parameter.grad is not None for parameter in tuned.parameters())
