"""WaveFake: vocoders over LJSpeech and JSUT, and one text-to-speech chain; spoof only."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, with_companions
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading

LAYOUT = Layout(
    "a folder with generated_audio/{ljspeech_*,jsut_*,common_voices_*}/*.wav, or these folders themselves",
    (
        (Marker("generated_audio/ljspeech_*"),),
        (Marker("generated_audio/jsut_*"),),
        (Marker("ljspeech_*gan*/*.*"),),
        (Marker("ljspeech_waveglow/*.*"),),
        (Marker("jsut_*gan*/*.*"),),
    ),
)

PUBLISHED = (Published({}, spoof=117_985),)

EXAMPLE = Example(
    audio=(
        "generated_audio/ljspeech_melgan/LJ001-0001_gen.wav",
        "generated_audio/ljspeech_waveglow/LJ001-0001.wav",
        "generated_audio/ljspeech_hifiGAN/LJ001-0001_generated.wav",
        "generated_audio/jsut_parallel_wavegan/BASIC5000_0001_gen.wav",
        "generated_audio/common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech/gen_0.wav",
    ),
    companions={"ljspeech": "ljspeech", "jsut": "jsut"},
    trials={
        "ljspeech_melgan/LJ001-0001_gen": {
            "label": "spoof",
            "attack_id": "melgan",
            "speaker_id": "LJ",
            "text_id": "LJ001-0001",
            "source_id": "ljspeech",
            "language": "en",
        },
        "ljspeech_waveglow/LJ001-0001": {"attack_id": "waveglow"},
        "ljspeech_hifiGAN/LJ001-0001_generated": {"attack_id": "hifiGAN", "text_id": "LJ001-0001"},
        "jsut_parallel_wavegan/BASIC5000_0001_gen": {"language": "ja", "speaker_id": "JSUT"},
        "common_voices_prompts_from_conformer_fastspeech2_pwg_ljspeech/gen_0": {
            "speaker_id": "LJ",
            "language": "en",
        },
        "ljspeech/LJ001-0001": {"label": "bonafide", "domain": "wavefake", "speaker_id": "LJ"},
        "ljspeech/LJ001-0002": {"label": "bonafide", "text_id": "LJ001-0002"},
        "jsut/BASIC5000_0001": {"label": "bonafide", "language": "ja"},
        "jsut/BASIC5000_0002": {"source_id": "jsut"},
    },
)


@CORPORA.register("wavefake", LAYOUT, PUBLISHED, EXAMPLE)
def read(
    root: PathLike,
    split: str | None = None,
    ljspeech: str | None = None,
    jsut: str | None = None,
    bona_fide_trials: int | None = None,
    seed: int = 0,
) -> Reading:
    """Every generated file. One stem lies in several folders, so an id holds the folder.

    Args:
        ljspeech: folder of LJSpeech-1.1, the bona fide original.
        jsut: folder of JSUT (basic5000), the same for the Japanese part.
        bona_fide_trials: how many to draw from both; all if None.
        seed: of the draw.
    Source:
        Frank and Schönherr, WaveFake: a data set to facilitate audio deepfake detection, NeurIPS 2021.
    """
    corpus = open_corpus("wavefake", LAYOUT, root)
    folder = corpus.root
    inside = "generated_audio" if (folder / "generated_audio").is_dir() else ""
    sets = r"(?P<source_id>ljspeech|jsut|common_voices)_(?P<attack_id>[^/]+)/(?P<name>[^/]+)$"
    rows = corpus.matched(f"^{inside and inside + '/'}{sets}", (inside,))
    japanese = pl.col("source_id") == "jsut"
    original = r"(LJ\d{3}-\d{4}|BASIC5000_\d+)"
    trials = rows.with_columns(
        pl.col("utterance_id").str.strip_prefix("generated_audio/"),
        pl.lit("spoof").alias("label"),
        pl.when(japanese).then(pl.lit("JSUT")).otherwise(pl.lit("LJ")).alias("speaker_id"),
        pl.when(japanese).then(pl.lit("ja")).otherwise(pl.lit("en")).alias("language"),
        pl.coalesce(pl.col("name").str.extract(original), pl.lit("common_voices/") + pl.col("name")).alias(
            "text_id"
        ),
    ).drop("name")
    made = corpus.assemble(trials, split)
    bona_fide = corpus.companions({"ljspeech": ljspeech, "jsut": jsut}, bona_fide_trials, seed)
    return corpus.reading(made.with_frame(with_companions(made.frame, bona_fide)))
