"""The LCNN of the ASVspoof LFCC baseline, with recurrent layers over time."""

from __future__ import annotations

from torch import Tensor, nn

from veravox.errors import ConfigurationError
from veravox.models.experts import EXPERTS, Expert, ExpertOutput
from veravox.models.layers.batch_norm import BatchNorm
from veravox.models.layers.max_feature_map import mfm_convolution

POOLED = 16
CHANNELS = 32


def _normalise(channels: int) -> nn.Module:
    return BatchNorm(channels, affine=False)


@EXPERTS.register("lcnn_lstm")
class LCNNLSTM(Expert):
    """LCNN trunk that keeps time, two bidirectional LSTM layers with a residual, mean over time, one logit.

    Features (B, F, T) of at least 16 bins and 16 frames; with 60 bins, 269,729 parameters.

    Args:
        dropout: after the trunk.

    Source:
        Wang and Yamagishi, A Comparative Study on Recent Neural Spoofing Countermeasures, Interspeech 2021;
        the LFCC-LCNN baseline of ASVspoof 2021.
    """

    inductive_bias = (
        "local spectro-temporal patterns and how they follow one another, so prosody and joins between segments"
    )

    def __init__(self, feature_shape: tuple[int, ...], dropout: float = 0.7) -> None:
        super().__init__()
        if len(feature_shape) != 2 or min(feature_shape) < POOLED:
            raise ConfigurationError(
                f"expert 'lcnn_lstm' needs spectral features of at least {POOLED} bins and {POOLED} frames; "
                f"features here have shape {feature_shape}"
            )
        self.trunk = nn.Sequential(
            *mfm_convolution(1, 64, 5),
            nn.MaxPool2d(2),
            *mfm_convolution(32, 64, 1),
            _normalise(32),
            *mfm_convolution(32, 96, 3),
            nn.MaxPool2d(2),
            _normalise(48),
            *mfm_convolution(48, 96, 1),
            _normalise(48),
            *mfm_convolution(48, 128, 3),
            nn.MaxPool2d(2),
            *mfm_convolution(64, 128, 1),
            _normalise(64),
            *mfm_convolution(64, 64, 3),
            _normalise(32),
            *mfm_convolution(32, 64, 1),
            _normalise(32),
            *mfm_convolution(32, 2 * CHANNELS, 3),
            nn.MaxPool2d(2),
            nn.Dropout(dropout),
        )
        self.embedding_size = feature_shape[0] // POOLED * CHANNELS
        self.lstm = nn.LSTM(
            self.embedding_size, self.embedding_size // 2, num_layers=2, bidirectional=True, batch_first=True
        )
        self.head = nn.Linear(self.embedding_size, 1)

    def forward(self, features: Tensor) -> ExpertOutput:
        patterns = self.trunk(features.unsqueeze(1))  # (B, C, F // 16, T // 16)
        sequence = patterns.permute(0, 3, 1, 2).flatten(2)
        embeddings = (self.lstm(sequence)[0] + sequence).mean(dim=1)
        return ExpertOutput(self.head(embeddings).squeeze(1), embeddings)
