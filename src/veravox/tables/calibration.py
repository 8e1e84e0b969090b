"""The calibration: a raw logit to a log-likelihood ratio, and that to a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from veravox.errors import ScoringError


@dataclass(frozen=True)
class Calibration:
    """What turns a raw logit into a log-likelihood ratio, and that into a verdict.

    score = scale * logit * (t / reference_s) ** growth + offset (natural log, higher is more bona fide); t is the
    speech behind the logit in seconds, held between `shortest_s` and `longest_s`. Evidence grows with speech, but
    less than in proportion, since the errors in one recording's windows are alike.

    Args:
        scale: positive.
        offset: in nats.
        prior: of spoof, assumed when fitting and for `p_spoof`.
        lower: below it the verdict is `spoof`.
        upper: from it on the verdict is `bonafide`; between the two it is `uncertain`.
        policy: the window policy it was fitted under; another one warns.
        fitted_on: the trials it was fitted on, in words.
        rule: how the thresholds were set, in words.
        growth: from 0, where a score is the same however much speech it rests on, to below 1.
        reference_s: seconds of speech at which scale and offset hold as they are.
        shortest_s, longest_s: seconds of speech outside which evidence neither shrinks nor grows.
    """

    scale: float
    offset: float
    prior: float = 0.5
    lower: float = 0.0
    upper: float = 0.0
    policy: str = ""
    fitted_on: str = ""
    rule: str = ""
    growth: float = 0.0
    reference_s: float = 4.0
    shortest_s: float = 1.0
    longest_s: float = 32.0

    def __post_init__(self) -> None:
        numbers = (self.scale, self.offset, self.prior, self.lower, self.upper)
        if not all(map(math.isfinite, numbers)) or self.scale <= 0 or not 0 < self.prior < 1:
            raise ScoringError(f"a calibration needs finite numbers, scale > 0 and 0 < prior < 1; got {self}")
        if self.lower > self.upper:
            raise ScoringError(f"calibration: the lower threshold {self.lower} is above the upper {self.upper}")
        if not 0 <= self.growth < 1 or not 0 < self.shortest_s <= self.reference_s <= self.longest_s < math.inf:
            raise ScoringError(
                "a calibration needs 0 <= growth < 1 and 0 < shortest_s <= reference_s <= longest_s; "
                f"got {self.growth}, {self.shortest_s}, {self.reference_s}, {self.longest_s}"
            )

    def apply(self, logit: float, speech_s: float | None = None) -> float:
        """Log-likelihood ratio of one raw logit, which rests on so much speech; on `reference_s` if unknown."""
        return self.scale * logit * self.evidence(speech_s) + self.offset

    def evidence(self, speech_s: float | None) -> float:
        """What so much speech multiplies a score by; 1 at `reference_s`, or if unknown."""
        if not self.growth or speech_s is None:
            return 1.0
        held = min(max(speech_s, self.shortest_s), self.longest_s)
        return float((held / self.reference_s) ** self.growth)

    def verdict(self, score: float) -> Literal["bonafide", "uncertain", "spoof"]:
        """The verdict of a calibrated score."""
        if score < self.lower:
            return "spoof"
        return "bonafide" if score >= self.upper else "uncertain"

    def p_spoof(self, score: float, prior: float | None = None) -> float:
        """Posterior probability of spoof, given a calibrated score and a prior of spoof."""
        prior = self.prior if prior is None else prior
        log_odds = math.log(prior / (1 - prior)) - score
        return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Read what `to_dict` wrote.

        Raises:
            ScoringError: for missing, unknown or impossible values.
        """
        try:
            return cls(**data)
        except TypeError as error:
            raise ScoringError(f"not a calibration: {error}") from error
