"""What the ASVspoof corpora share: blank-separated keys, a folder of FLAC files per split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from veravox.corpora.reading.assemble import PathLike, open_corpus, standard_split
from veravox.corpora.reading.layout import Layout
from veravox.corpora.reading.listing import first_match, list_audio
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import blank_to_null, read_fields, with_labels
from veravox.errors import CorpusError
from veravox.tables import SPOOF

SPLITS_2019 = {"train": "trn", "dev": "trl", "eval": "trl"}


def read_2019(
    name: str, track: str, columns: Sequence[str], layout: Layout, root: PathLike, split: str | None
) -> Reading:
    """ASVspoof 2019, LA or PA: one key and one FLAC folder per split; splits that are not here are left out.

    Args:
        columns: of a key line; the second is the utterance, the last the label.
    """
    corpus = open_corpus(name, layout, root)
    folder = corpus.root
    wanted = standard_split(split)
    parts = []
    for part, ending in SPLITS_2019.items():
        key = folder / f"ASVspoof2019_{track}_cm_protocols/ASVspoof2019.{track}.cm.{part}.{ending}.txt"
        if wanted in (None, part) and key.exists():
            rows = with_labels(read_fields(key, columns), key)
            audio = pl.lit(f"ASVspoof2019_{track}_{part}/flac/") + pl.col("utterance_id")
            parts.append(rows.with_columns(audio.alias("file"), pl.lit(part).alias("split")))
        elif wanted == part:
            raise CorpusError(f"the key file {str(key)!r} is missing; it comes with {track}.zip of ASVspoof 2019")
    trials = blank_to_null(pl.concat(parts), "attack_id")
    folders = [f"ASVspoof2019_{track}_{part}/flac" for part in trials["split"].unique(maintain_order=True)]
    return corpus.reading(corpus.assemble(trials, split, folders))


def read_2021(
    name: str,
    track: str,
    columns: Sequence[str],
    layout: Layout,
    root: PathLike,
    split: str | None,
    phase: str,
) -> Reading:
    """ASVspoof 2021, LA, DF or PA: one key for all, which is a download of its own; everything is eval.

    Args:
        columns: of a key line; among them `phase`.
        phase: `eval`, which the published figures are about; `progress`, `hidden`, or `all`.
    """
    corpus = open_corpus(name, layout, root)
    folder = corpus.root
    key = key_2021(folder, track)
    if key is None:
        raise CorpusError(
            f"the key 'keys/{track}/CM/trial_metadata.txt' is missing below {str(folder)!r}; it is not in the "
            f"archives of the audio: download {track}-keys-full.tar.gz as well and unpack it there"
        )
    rows = with_labels(read_fields(key, columns, more=True), key)
    known = sorted(rows["phase"].unique())
    if phase != "all":
        if phase not in known:
            raise CorpusError(f"{name} has no phase {phase!r}; found: {', '.join(known)}; or use 'all'")
        left = rows.filter(pl.col("phase") != phase)
        rows = rows.filter(pl.col("phase") == phase)
        if len(left):
            message = f"{name}: {len(left)} trials of other phases are left out; phase=all keeps them"
            corpus.remark(message, "left out", left["utterance_id"].to_list())
    folders = audio_folders_2021(folder, track)
    audio = pl.lit(f"{folders[0]}/") + pl.col("utterance_id")
    rows = rows.with_columns(audio.alias("file"), pl.lit("eval").alias("split"))
    rows = rows.with_columns(_attack_2021(rows))
    if len(folders) > 1:
        rows = _over_parts(folder, rows, folders)
    return corpus.reading(corpus.assemble(rows, split, folders))


def _attack_2021(rows: pl.DataFrame) -> pl.Expr:
    """The attack of each trial; empty for bona fide. PA names it by microphone, loudspeaker and distance."""
    if "attack_id" in rows.columns:
        attack = pl.when(pl.col("attack_id").is_in(["-", "", "bonafide"])).then(None).otherwise("attack_id")
    else:
        codes = pl.concat_str("attacker_microphone", "loudspeaker", "attacker_distance", separator="-")
        attack = pl.when(pl.col("label") == SPOOF).then(codes)
    return attack.alias("attack_id")


def key_2021(folder: Path, track: str) -> Path | None:
    """The key of a 2021 track, as unpacked in ROOT or in a folder of its own."""
    tail = f"keys/{track}/CM/trial_metadata.txt"
    return first_match(folder, (tail, f"*keys*/{tail}"))


def audio_folders_2021(folder: Path, track: str) -> list[str]:
    """The FLAC folders of a 2021 track: one, or one per part of the download."""
    tail = f"ASVspoof2021_{track}_eval/flac"
    found = [tail] if (folder / tail).is_dir() else []
    found += sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"*/{tail}"))
    return found or [tail]


def _over_parts(folder: Path, rows: pl.DataFrame, folders: Sequence[str]) -> pl.DataFrame:
    """Each trial's file in whichever part of the download holds it; in the first, if none does."""
    there = (
        list_audio(folder, folders)
        .frame.with_columns(pl.col("stem").str.extract(r"([^/]*)$").alias("utterance_id"))
        .select("utterance_id", "stem")
    )
    there = there.unique("utterance_id", keep="first", maintain_order=True)
    rows = rows.join(there, on="utterance_id", how="left", maintain_order="left")
    return rows.with_columns(pl.coalesce("stem", "file").alias("file")).drop("stem")
