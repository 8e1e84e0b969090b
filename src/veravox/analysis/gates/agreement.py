"""How alike experts err, and how good choosing among them could be."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from veravox.evaluation import equal_error_rate, equal_error_threshold


def error_rate(scores: np.ndarray, bona_fide: np.ndarray) -> float | None:
    """EER of the scores that are numbers; None where a class is missing.

    Args:
        scores: (trials,), NaN where there is none.
        bona_fide: (trials,) boolean.
    """
    finite = np.isfinite(scores)
    one, other = scores[finite & bona_fide], scores[finite & ~bona_fide]
    return equal_error_rate(one, other) if len(one) and len(other) else None


def minus_threshold(expert_logits: np.ndarray, bona_fide: np.ndarray) -> np.ndarray:
    """Expert logits (trials, E) minus each expert's own equal error threshold, so that 0 is where it decides."""
    result = np.full_like(expert_logits, np.nan)
    for index, column in enumerate(expert_logits.T):
        finite = np.isfinite(column)
        one, other = column[finite & bona_fide], column[finite & ~bona_fide]
        if len(one) and len(other):
            result[:, index] = column - equal_error_threshold(one, other)
    return result


def pair_figures(first: np.ndarray, second: np.ndarray) -> dict[str, float | None]:
    """Figures of two experts from whether each is right, (trials,) boolean.

    Returns:
        `q`: Yule's Q, 1 if they are right on the same trials, 0 if independent, -1 if on opposite ones;
        `error_correlation`: of their errors; `agreement`: share of trials with the same verdict;
        `double_fault`: share on which both are wrong. Q and correlation are None where they are undefined.
    Source:
        Kuncheva and Whitaker, Measures of Diversity in Classifier Ensembles, Machine Learning 2003.
    """
    both, neither = np.mean(first & second), np.mean(~first & ~second)
    only_first, only_second = np.mean(first & ~second), np.mean(~first & second)
    alike, unlike = both * neither, only_first * only_second
    spread = np.sqrt(first.mean() * (1 - first.mean()) * second.mean() * (1 - second.mean()))
    return {
        "q": float((alike - unlike) / (alike + unlike)) if alike + unlike else None,
        "error_correlation": float((alike - unlike) / spread) if spread else None,
        "agreement": float(both + neither),
        "double_fault": float(neither),
    }


def agreement(names: Sequence[str], expert_logits: np.ndarray, bona_fide: np.ndarray) -> list[dict[str, Any]]:
    """`pair_figures` of every pair of experts, each deciding at its own equal error threshold.

    Trials that either of the two was not run on are left out.
    """
    centred = minus_threshold(expert_logits, bona_fide)
    pairs = []
    for first, second in combinations(range(len(names)), 2):
        finite = np.isfinite(centred[:, [first, second]]).all(axis=1)
        if not finite.any():
            continue
        right = [(centred[finite, index] >= 0) == bona_fide[finite] for index in (first, second)]
        figures = pair_figures(*right)
        pairs.append({"experts": [names[first], names[second]], "trials": int(finite.sum()), **figures})
    return pairs


def oracle_scores(expert_logits: np.ndarray, bona_fide: np.ndarray) -> np.ndarray:
    """For each trial the logit, less its threshold, of the expert that is most right: an oracle gate.

    NaN where no expert was run.
    """
    centred = minus_threshold(expert_logits, bona_fide)
    none = ~np.isfinite(centred).any(axis=1)
    highest = np.where(np.isfinite(centred), centred, -np.inf).max(axis=1)
    lowest = np.where(np.isfinite(centred), centred, np.inf).min(axis=1)
    return np.where(none, np.nan, np.where(bona_fide, highest, lowest))


def oracle(
    names: Sequence[str], logits: np.ndarray, expert_logits: np.ndarray, bona_fide: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """How good gating could be, beside how good it is; EERs as fractions, None where a class is missing.

    Args:
        names: of the experts.
        logits: (trials,), the mixture's.
        expert_logits: (trials, E).
        bona_fide: (trials,) boolean.
        groups: (trials,), the domain of each; a gate that knew it would take its best expert.
    """
    eers = {name: error_rate(expert_logits[:, index], bona_fide) for index, name in enumerate(names)}
    defined = {name: eer for name, eer in eers.items() if eer is not None}
    best = min(defined, key=lambda name: defined[name]) if defined else None
    centred = minus_threshold(expert_logits, bona_fide)
    by_group = np.full(len(logits), np.nan)
    for group in set(groups.tolist()):
        mine = groups == group
        rates = [error_rate(centred[mine, index], bona_fide[mine]) for index in range(len(names))]
        if any(rate is not None for rate in rates):
            by_group[mine] = centred[mine, int(np.argmin([1.0 if rate is None else rate for rate in rates]))]
    mixture, ideal = error_rate(logits, bona_fide), error_rate(oracle_scores(expert_logits, bona_fide), bona_fide)
    gain = None if mixture is None or best is None else defined[best] - mixture
    possible = None if ideal is None or best is None else defined[best] - ideal
    return {
        "mixture": mixture,
        "mean_of_experts": error_rate(expert_logits.mean(axis=1), bona_fide),
        "best_expert": best,
        "best_expert_eer": defined[best] if best else None,
        "best_expert_of_each_domain": error_rate(by_group, bona_fide),
        "oracle": ideal,
        "gain_over_best_expert": gain,
        "share_of_possible_gain": gain / possible if gain is not None and possible else None,
    }
