"""Common Voice: sentences read by volunteers, many languages; bona fide only."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, standard_split
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import read_headed
from veravox.errors import CorpusError

LAYOUT = Layout(
    "a folder with <language>/{train,dev,test,validated}.tsv and <language>/clips/*.mp3, or one language of it",
    (
        (Marker("clips"), Marker("*.tsv", r"client_id\tpath\t")),
        (Marker("*/clips"), Marker("*/*.tsv", r"client_id\tpath\t")),
    ),
)

PUBLISHED: tuple[Published, ...] = ()

LISTS = {"train": "train", "dev": "dev", "test": "eval"}
HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment\n"

EXAMPLE = Example(
    files={
        "cy/train.tsv": HEADER + 'ab12\tcommon_voice_cy_1.mp3\t"Bore da\t2\t0\t\t\t\tcy\t\n',
        "cy/test.tsv": HEADER + "cd34\tcommon_voice_cy_2.mp3\tNos da\t2\t0\ttwenties\tfemale\t\tcy\t\n",
    },
    audio=("cy/clips/common_voice_cy_1.mp3", "cy/clips/common_voice_cy_2.mp3"),
    trials={
        "common_voice_cy_1": {"label": "bonafide", "speaker_id": "ab12", "split": "train", "language": "cy"},
        "common_voice_cy_2": {"split": "eval", "gender": "female", "transcript": "Nos da"},
    },
)


@CORPORA.register("common_voice", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None, validated: bool = False) -> Reading:
    """The clips of `train.tsv`, `dev.tsv` and `test.tsv`, by the names in their headers.

    Args:
        validated: read `validated.tsv`, which is larger and has no splits, instead.
    """
    corpus = open_corpus("common_voice", LAYOUT, root)
    folder = corpus.root
    here = [folder] if (folder / "clips").is_dir() else sorted(path.parent for path in folder.glob("*/clips"))
    lists = (
        {"validated": None}
        if validated
        else {k: v for k, v in LISTS.items() if split is None or v == standard_split(split)}
    )
    parts, clips = [], []
    for language in here:
        name = "" if language == folder else f"{language.name}/"
        clips.append(f"{name}clips")
        for stem, part in lists.items():
            if (language / f"{stem}.tsv").exists():
                parts.append(_read(language / f"{stem}.tsv", f"{name}clips/", part))
    if not parts:
        raise CorpusError(f"common_voice: none of {', '.join(lists)} (.tsv) lies below {str(folder)!r}")
    trials = pl.concat(parts, how="diagonal").unique("utterance_id", keep="first", maintain_order=True)
    total = sum(map(len, parts))
    if total != len(trials):
        corpus.remark(
            f"common_voice: {total - len(trials)} clips are listed in more than one list; the first counts",
            "left out",
        )
    return corpus.reading(corpus.assemble(trials, split, clips if split is None else None, ending=".mp3"))


def _read(key: Path, clips: str, split: str | None) -> pl.DataFrame:
    rows = read_headed(key, ("client_id", "path"), separator="\t", quoted=False)
    stem = pl.col("path").str.replace(r"\.[^./]*$", "")
    keep = [column for column in ("gender", "age", "accents", "accent") if column in rows.columns]
    locale = pl.col("locale") if "locale" in rows.columns else pl.lit(key.parent.name)
    sentence = pl.col("sentence") if "sentence" in rows.columns else pl.lit(None, dtype=pl.String)
    return rows.select(
        stem.alias("utterance_id"),
        (pl.lit(clips) + stem).alias("file"),
        pl.lit("bonafide").alias("label"),
        pl.col("client_id").alias("speaker_id"),
        sentence.str.to_lowercase().alias("text_id"),
        locale.alias("language"),
        pl.lit(split, dtype=pl.String).alias("split"),
        sentence.alias("transcript"),
        *keep,
    )
