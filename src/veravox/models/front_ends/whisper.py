"""The encoder of Whisper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from veravox.errors import ConfigurationError, require
from veravox.models import pretrained
from veravox.models.front_ends import FRONT_ENDS, FrontEnd

FFT, HOP = 400, 160


@FRONT_ENDS.register("whisper")
class Whisper(FrontEnd):
    """Hidden states of a Whisper encoder, (B, D, T) at 50 frames a second. Needs the extra `ssl`.

    The window is encoded as long as it is; it is not filled up with silence to Whisper's 30 s.

    Args:
        model: hub name or local folder of any Whisper checkpoint.
        train: `frozen`; `fine_tuned`, every weight; or `lora`, low-rank additions to the attention.
        lora_rank: rank of the additions.
        configuration: set by checkpoints, so that they need no other file; not meant to be written by hand.

    Source:
        Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023.
    """

    captures = (
        "what was said and roughly how, from a log-mel spectrogram; blind to phase and trained to ignore noise"
    )
    filters: Tensor
    window: Tensor

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        layers = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 1, "max_source_positions": 100}
        heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
        rest = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "vocab_size": 60, "pad_token_id": 0}
        settings = {**layers, **heads, **rest}
        return {"model": pretrained.write_random_encoder(folder / "whisper", "whisper", settings)}

    def __init__(
        self,
        model: str,
        train: Literal["frozen", "fine_tuned", "lora"] = "frozen",
        lora_rank: int = 8,
        configuration: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        whole: Any = pretrained.load_encoder(model, configuration, ("whisper",))
        self.portable_options = {"configuration": pretrained.portable_configuration(whole)}
        extractor = require("transformers", pretrained.EXTRA).WhisperFeatureExtractor(
            feature_size=whole.config.num_mel_bins
        )
        filters = torch.from_numpy(np.asarray(extractor.mel_filters.T, dtype=np.float32))
        self.register_buffer("filters", filters.contiguous(), persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        self.frozen = train == "frozen"
        self.encoder: Any = pretrained.prepare(whole.encoder, train, lora_rank)
        if train == "fine_tuned":
            whole.encoder.embed_positions.requires_grad_(False)

    def train(self, mode: bool = True) -> Whisper:
        """As of any module, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def log_mel(self, windows: Tensor) -> Tensor:
        """Whisper's own features (B, bands, S // 160): 8 decades under the loudest and up, scaled to about 1."""
        spectrum = torch.stft(windows.float(), FFT, HOP, FFT, self.window, center=True, return_complex=True)
        power = spectrum[..., :-1].abs().square()
        bands = torch.log10(torch.matmul(self.filters, power).clamp(min=1e-10))
        floor = bands.amax(dim=(1, 2), keepdim=True) - 8.0
        return (torch.maximum(bands, floor) + 4.0) / 4.0

    def forward(self, windows: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return self._encode(self.log_mel(windows)).transpose(1, 2)

    def _encode(self, features: Tensor) -> Tensor:
        encoder: Any = self.encoder.get_base_model() if hasattr(self.encoder, "get_base_model") else self.encoder
        hidden = functional.gelu(encoder.conv1(features))
        hidden = functional.gelu(encoder.conv2(hidden)).transpose(1, 2)  # (B, T, D)
        positions = encoder.embed_positions.weight
        if hidden.shape[1] > len(positions):
            raise ConfigurationError(
                f"front end 'whisper': windows of {features.shape[-1] * HOP / 16000:g} s are longer than the "
                f"{len(positions) / 50:g} s that the model knows; set a shorter window_s"
            )
        hidden = hidden + positions[: hidden.shape[1]]
        for layer in encoder.layers:
            hidden = layer(hidden, None)
        return encoder.layer_norm(hidden)
