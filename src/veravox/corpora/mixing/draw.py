"""Draw trials by the hash of their ids: the same everywhere, whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from veravox.corpora.reading.assemble import hash_order
from veravox.errors import ConfigurationError


def balanced(trials: pl.DataFrame, columns: Sequence[str], count: int | None, seed: int) -> pl.DataFrame:
    """As many trials of every value of the first column; within each, as even as possible over the next.

    Args:
        trials: with `utterance_id` and the columns; an empty cell counts as a value.
        columns: from the outermost, like `label`, `attack_id`.
        count: of trials in all; None takes as many of every value as the rarest has.
        seed: of the draw.
    Returns:
        The drawn rows, sorted by id.
    """
    if not columns and (count is None or count >= len(trials)):
        return trials.sort("utterance_id")
    ordered = trials.with_columns(hash_order(trials["utterance_id"], seed)).sort("order", "utterance_id")
    if not columns:
        return ordered.head(count or 0).drop("order").sort("utterance_id")
    groups = _groups(ordered, columns[0])
    smallest = min(len(group) for group in groups)
    each = smallest if count is None else min(smallest, count // len(groups))
    parts = [_even(group, columns[1:], each) for group in groups]
    return pl.concat(parts).drop("order").sort("utterance_id")


def _groups(trials: pl.DataFrame, column: str) -> list[pl.DataFrame]:
    parts = trials.partition_by(column, as_dict=True, maintain_order=True)
    return [parts[key] for key in sorted(parts, key=lambda key: (key[0] is not None, str(key[0])))]


def _even(trials: pl.DataFrame, columns: Sequence[str], count: int) -> pl.DataFrame:
    """`count` rows (or all), spread over the values of the columns: what a rare value lacks, others give."""
    if count >= len(trials) or not columns:
        return trials.head(count)
    groups = _groups(trials, columns[0])
    shares = water_fill([len(group) for group in groups], count)
    return pl.concat([_even(group, columns[1:], share) for group, share in zip(groups, shares, strict=True)])


def water_fill(sizes: Sequence[int], count: int) -> list[int]:
    """How many to take of each, as even as possible, `count` in all (or everything, if that is less).

    A remainder goes to the first of the largest, one each.
    """
    left, taken = min(count, sum(sizes)), [0] * len(sizes)
    open_places = list(range(len(sizes)))
    while left:
        open_places = [place for place in open_places if taken[place] < sizes[place]]
        each = left // len(open_places)
        if not each:
            for place in open_places[:left]:
                taken[place] += 1
            break
        for place in open_places:
            more = min(each, sizes[place] - taken[place])
            taken[place] += more
            left -= more
    return taken


def divided(trials: pl.DataFrame, shares: Mapping[str, float], by: str | None, seed: int) -> pl.DataFrame:
    """The trials with `split`, every value of `by` whole in one split.

    Values are dealt in the order of their hash, each to the split that is furthest behind its share of trials.

    Args:
        shares: split to its share, summing to 1.
        by: column whose values stay together (a speaker's trials); each trial for itself if None. Trials with an
            empty cell are each for themselves.
        seed: of the deal.
    """
    wanted = {name: share for name, share in shares.items() if share > 0}
    if not wanted or abs(sum(wanted.values()) - 1.0) > 1e-6:
        raise ConfigurationError(f"the shares of the splits must sum to 1; got {dict(shares)}")
    key = pl.col("utterance_id") if by is None else pl.coalesce(by, pl.lit("\0") + pl.col("utterance_id"))
    trials = trials.with_columns(key.alias("together"))
    groups = trials.group_by("together").len("trials")
    groups = groups.with_columns(hash_order(groups["together"], seed)).sort("order", "together")
    got = dict.fromkeys(wanted, 0)
    splits = []
    for size in groups["trials"]:
        name = min(wanted, key=lambda split: (got[split] + size / 2) / wanted[split])
        got[name] += size
        splits.append(name)
    dealt = groups.select("together", pl.Series("split", splits, dtype=pl.String))
    return trials.drop("split", strict=False).join(dealt, on="together", maintain_order="left").drop("together")
