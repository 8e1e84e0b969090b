"""Self-supervised speech encoders: wav2vec 2.0, XLS-R, WavLM, HuBERT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from veravox.models import pretrained
from veravox.models.front_ends import FRONT_ENDS, FrontEnd

KINDS = ("wav2vec2", "wavlm", "hubert")


@FRONT_ENDS.register("ssl")
class SelfSupervised(FrontEnd):
    """Hidden states of a pretrained encoder, (B, D, T) at 50 frames a second. Needs the extra `ssl`.

    Args:
        model: hub name or local folder: wav2vec 2.0 Base / Large, XLS-R, WavLM, HuBERT.
        train: `frozen`; `fine_tuned`, every weight; or `lora`, low-rank additions to the attention.
        layers: the `last` hidden layer, or a learned weighted `sum` of all.
        lora_rank: rank of the additions.
        normalise: bring each window to mean 0 and variance 1; None does as the model was trained.
        configuration: set by checkpoints, so that they need no other file; not meant to be written by hand.

    Source:
        Baevski et al., wav2vec 2.0, NeurIPS 2020; Babu et al., XLS-R, Interspeech 2022;
        Hu et al., LoRA, ICLR 2022.
    """

    captures = (
        "phonetic and acoustic detail in context, as learned from much natural speech; "
        "little of what is above 8 kHz or in the noise floor"
    )

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
        convolutions = {"conv_dim": [8] * 3, "conv_kernel": [10, 3, 3], "conv_stride": [5, 8, 8]}
        positions = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
        settings = {"num_feat_extract_layers": 3, **sizes, **convolutions, **positions}
        return {"model": pretrained.write_random_encoder(folder / "wav2vec2", "wav2vec2", settings)}

    def __init__(
        self,
        model: str,
        train: Literal["frozen", "fine_tuned", "lora"] = "frozen",
        layers: Literal["last", "sum"] = "last",
        lora_rank: int = 8,
        normalise: bool | None = None,
        configuration: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        encoder = pretrained.load_encoder(model, configuration, KINDS)
        config: Any = encoder.config
        self.portable_options = {"configuration": pretrained.portable_configuration(encoder)}
        self.normalise = config.feat_extract_norm == "layer" if normalise is None else normalise
        self.frozen = train == "frozen"
        self.encoder = pretrained.prepare(encoder, train, lora_rank)
        self.layer_weights = nn.Parameter(torch.zeros(config.num_hidden_layers + 1)) if layers == "sum" else None

    def train(self, mode: bool = True) -> SelfSupervised:
        """As of any module, but a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def forward(self, windows: Tensor) -> Tensor:
        if self.normalise:
            variance, mean = torch.var_mean(windows, dim=1, correction=0, keepdim=True)
            windows = (windows - mean) * torch.rsqrt(variance + 1e-7)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            output = self.encoder(windows, output_hidden_states=self.layer_weights is not None)
        if self.layer_weights is None:
            return output.last_hidden_state.transpose(1, 2)
        shares = self.layer_weights.softmax(dim=0)
        states = (*output.hidden_states[:-1], output.last_hidden_state)  # the last one normalised, in any version
        return torch.stack(states, dim=-1).matmul(shares).transpose(1, 2)
