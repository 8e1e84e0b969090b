"""What two sets of trials share that they should not: speakers, texts, sources, generators, trials."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

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


def one_spelling(value: pl.Expr) -> pl.Expr:
    """Values less what tells spellings of one name apart: case, width, coding of accents, further spaces."""
    return value.str.normalize("NFKC").str.to_lowercase().str.strip_chars().str.replace_all(r"\s+", " ")


def shared_values(trials: pl.DataFrame) -> Iterator[Finding]:
    """Values that occur in more than one set, by kind and pair of sets; other spellings are the same value.

    Args:
        trials: with `set` and the columns of a protocol.
    """
    for kind, (column, plural) in SHARED.items():
        if column not in trials.columns:
            continue
        written, value = pl.col(column), one_spelling(pl.col(column))
        if kind == "utterance":
            value = written  # an id is text, and nothing but itself
            if "domain" in trials.columns:  # two corpora may both have a trial `0`
                value = written = pl.concat_str("domain", column, separator="/", ignore_nulls=True)
        rows = trials.filter(pl.col(column).is_not_null() & ~one_spelling(pl.col(column)).is_in(NOBODY))
        if kind == "generator" and "label" in rows.columns:
            rows = rows.filter(pl.col("label") == SPOOF)
        rows = rows.select("set", written.alias("written"), value.alias("value"))
        counts = rows.group_by("value", "set").agg(pl.len().alias("trials"), pl.col("written").unique())
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
    ranks = pl.DataFrame({"set": names, "rank": range(len(names))}, schema={"set": pl.String, "rank": pl.Int64})
    ranked = counts.join(ranks, on="set")
    both = ranked.join(ranked, on="value", suffix="_other").filter(pl.col("rank") < pl.col("rank_other"))
    both = both.with_columns(pl.concat_list("written", "written_other").list.unique())
    grouped = both.group_by("rank", "rank_other").agg("written", pl.col("trials_other").sum())
    for first, second, written, trials in grouped.sort("rank", "rank_other").iter_rows():
        yield names[first], names[second], sorted(map(_spellings, written)), trials


def _spellings(written: Sequence[str]) -> str:
    """One value, or its spellings; with escapes where they would look alike."""
    if len(written) == 1:
        return written[0]
    alike = len({unicodedata.normalize("NFC", text) for text in written}) < len(written)
    return " = ".join(sorted(ascii(text)[1:-1] if alike else text for text in written))


def _order(name: str) -> tuple[int, str]:
    """Sets to train on come first."""
    for rank, split in enumerate(("train", "dev")):
        if split in name:
            return rank, name
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
