"""What two sets of trials share that they should not: speakers, texts, sources, generators, trials."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from veravox.corpora.checking.findings import Finding
from veravox.errors import first_few
from veravox.tables import SPOOF

SHARED = {
    "utterance": ("utterance_id", "trials"),
    "speaker": ("speaker_id", "speakers"),
    "text": ("text_id", "texts"),
    "source": ("source_id", "sources"),
    "generator": ("attack_id", "generators"),
}
"""Kind of leak to the column that shows it, and what its values are called."""

NOBODY = ["-", "", "unknown", "none", "n/a"]


def shared_values(trials: pl.DataFrame) -> Iterator[Finding]:
    """Values that occur in more than one set, by kind and pair of sets.

    Args:
        trials: with `set` and the columns of a protocol.
    """
    for kind, (column, plural) in SHARED.items():
        if column not in trials.columns:
            continue
        rows = trials.filter(pl.col(column).is_not_null() & ~pl.col(column).str.to_lowercase().is_in(NOBODY))
        if kind == "utterance" and "domain" in rows.columns:  # two corpora may both have a trial `0`
            whole = pl.concat_str("domain", column, separator="/", ignore_nulls=True)
            rows = rows.with_columns(whole.alias(column))
        if kind == "generator" and "label" in rows.columns:
            rows = rows.filter(pl.col("label") == SPOOF)
        counts = rows.group_by(pl.col(column).alias("value"), "set").len("trials")
        sizes = dict((rows if kind == "generator" else trials).group_by("set").len().iter_rows())
        different = dict(counts.group_by("set").len().iter_rows())
        what = "spoof trials" if kind == "generator" else "trials"
        for first, second, values, shared in _pairs(counts):
            whole = sizes[second]
            share = f"all {whole}" if shared == whole else f"{shared} of {whole}"
            of = f"{len(values)} of {different[second]} {plural} of {second} are in {first} too"
            message = f"{of} ({share} {what}): {first_few(values)}"
            yield Finding(kind, message, values, (first, second))


def _pairs(counts: pl.DataFrame) -> Iterator[tuple[str, str, list[str], int]]:
    """Each two sets that share values: their names, the values, and how many trials of the second have them."""
    names = sorted(counts["set"].unique(), key=_order)
    places = pl.DataFrame({"set": names, "place": range(len(names))}, schema={"set": pl.String, "place": pl.Int64})
    placed = counts.join(places, on="set")
    both = placed.join(placed, on="value", suffix="_other").filter(pl.col("place") < pl.col("place_other"))
    grouped = both.group_by("place", "place_other").agg(pl.col("value"), pl.col("trials_other").sum())
    for first, second, values, trials in grouped.sort("place", "place_other").iter_rows():
        yield names[first], names[second], sorted(values), trials


def _order(name: str) -> tuple[int, str]:
    """Sets to train on come first."""
    for place, split in enumerate(("train", "dev")):
        if split in name:
            return place, name
    return 2, name


def separated_pairs(trials: pl.DataFrame) -> Iterator[Finding]:
    """Copies (`pair_of`) whose original lies in another set."""
    if "pair_of" not in trials.columns:
        return
    copies = trials.filter(pl.col("pair_of").is_not_null() & (pl.col("pair_of") != "")).select(
        "set", "utterance_id", "pair_of"
    )
    originals = trials.select(pl.col("utterance_id").alias("pair_of"), pl.col("set").alias("other"))
    apart = copies.join(originals, on="pair_of").filter(pl.col("set") != pl.col("other"))
    for (here, there), rows in apart.sort("set", "other", maintain_order=True).group_by(
        "set", "other", maintain_order=True
    ):
        ids = rows["utterance_id"].to_list()
        message = f"{len(ids)} copies (pair_of) lie in {here}, their originals in {there}: {first_few(ids)}"
        yield Finding("pair", message, ids, (str(here), str(there)))
