"""DiffSSD: speech of diffusion-based systems; spoof only, paired with LJSpeech and LibriSpeech."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import SPLIT_NAMES, PathLike, keep_split, open_corpus, with_companions
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import read_headed

LAYOUT = Layout(
    "a folder with generated_speech/<system>/[speaker_N/]*.wav (and train_val_test_splits.csv)",
    ((Marker("generated_speech/*"),),),
)

PUBLISHED = (Published({}, spoof=70_000),)

SPLITS = "train_val_test_splits.csv"

EXAMPLE = Example(
    files={
        SPLITS: "DiffSSD\nfilename,method_name,category,source,set,target\n"
        "generated_speech/grad_tts/sentence_0.wav,gradtts,spoof,pretrained,train,1\n"
        "generated_speech/your_tts/speaker_1487/sentence_449.wav,yourtts,spoof,zero-shot,test,1\n"
        "real_speech/ljspeech/LJ001-0001.wav,real,bonafide,ljspeech,test,0\n"
        "real_speech/ljspeech/LJ001-0002.wav,real,bonafide,ljspeech,train,0\n"
    },
    audio=(
        "generated_speech/grad_tts/sentence_0.wav",
        "generated_speech/grad_tts/sentence_1.wav",
        "generated_speech/your_tts/speaker_1487/sentence_449.wav",
        "generated_speech/openvoicev2/speaker_100/sentence_0_en-au.wav",
        "generated_speech/elevenlabs/speaker_100/sentence_0.mp3",
    ),
    companions={"ljspeech": "ljspeech"},
    trials={
        "grad_tts/sentence_0": {"label": "spoof", "attack_id": "grad_tts", "split": "train", "speaker_id": "LJ"},
        "grad_tts/sentence_1": {"label": "spoof", "split": None},
        "your_tts/speaker_1487/sentence_449": {
            "attack_id": "your_tts",
            "speaker_id": "1487",
            "split": "eval",
            "text_id": "diffssd/sentence_449",
        },
        "openvoicev2/speaker_100/sentence_0_en-au": {"text_id": "diffssd/sentence_0", "accent": "en-au"},
        "elevenlabs/speaker_100/sentence_0": {"text_id": "diffssd/sentence_0", "speaker_id": "100"},
        "ljspeech/LJ001-0001": {"label": "bonafide", "split": "eval", "domain": "diffssd"},
        "ljspeech/LJ001-0002": {"label": "bonafide", "split": "train"},
    },
)


@CORPORA.register("diffssd", LAYOUT, PUBLISHED, EXAMPLE)
def read(
    root: PathLike,
    split: str | None = None,
    ljspeech: str | None = None,
    librispeech: str | None = None,
    bona_fide_trials: int | None = None,
    seed: int = 0,
) -> Reading:
    """Every generated file, with the published splits where their list is there.

    `speaker_N` clones speaker N of LibriSpeech; the systems without such folders speak in LJSpeech's voice.
    `sentence_N` is one text, whichever system says it. The papers pair the spoof with all of LJSpeech and 11,126
    recordings of LibriSpeech.

    Args:
        ljspeech: folder of LJSpeech-1.1, a bona fide companion.
        librispeech: folder of LibriSpeech, the other one.
        bona_fide_trials: how many to draw from both; all if None.
        seed: of the draw.
    Source:
        Bhagtani et al., DiffSSD: a diffusion-based dataset for speech forensics, 2024.
    """
    corpus = open_corpus("diffssd", LAYOUT, root)
    folder = corpus.root
    voice = r"(?:(?:speaker_)?(?P<speaker_id>[^/]+)/)?"
    pattern = rf"^generated_speech/(?P<attack_id>[^/]+)/{voice}(?:[^/]+/)*(?P<name>[^/]+)$"
    trials = corpus.matched(pattern, ("generated_speech",)).with_columns(
        pl.col("utterance_id").str.strip_prefix("generated_speech/"),
        pl.lit("spoof").alias("label"),
        pl.lit("en").alias("language"),
        pl.col("speaker_id").fill_null("LJ"),
        (pl.lit("diffssd/") + pl.col("name").str.replace(r"_en-[a-z]+$", "")).alias("text_id"),
        pl.col("name").str.extract(r"_(en-[a-z]+)$").alias("accent"),
    )
    trials = trials.drop("name")
    made = corpus.assemble(trials)
    roots = {"ljspeech": ljspeech, "librispeech": librispeech}
    bona_fide = corpus.companions(roots, bona_fide_trials, seed)
    whole = with_splits(folder, with_companions(made.frame, bona_fide))
    return corpus.reading(made.with_frame(keep_split(whole, split, "diffssd")))


def with_splits(folder: Path, trials: pl.DataFrame) -> pl.DataFrame:
    """The trials with `split` from the published list; by name, since the companions may lie elsewhere."""
    key = folder / SPLITS
    if not key.exists():
        return trials
    rows = read_headed(key, ("filename", "set"), header="filename")
    name = pl.col("filename").str.replace(r"\.[^./]*$", "")
    generated = name.str.extract(r"(?:^|/)generated_speech/(.+)$")
    splits = rows.select(
        pl.coalesce(generated, name.str.extract(r"([^/]+)$")).alias("name"),
        pl.col("set").str.strip_chars().str.to_lowercase().replace(SPLIT_NAMES).alias("split"),
    ).unique("name", keep="first", maintain_order=True)
    trials = trials.with_columns(
        pl.col("utterance_id").str.replace(r"^(?:ljspeech|librispeech)/", "").alias("name")
    )
    return trials.join(splits, on="name", how="left", maintain_order="left").drop("name")
