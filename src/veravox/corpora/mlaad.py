"""MLAAD: text-to-speech systems in many languages; spoof only, paired with M-AILABS."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, with_companions
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import read_headed
from veravox.errors import CorpusError

LAYOUT = Layout(
    "a folder with fake/<language>/<system>/{meta.csv,*.wav}",
    ((Marker("fake/*/*/meta.csv", r"^path\|"),),),
)

PUBLISHED: tuple[Published, ...] = ()

HEADER = (
    "path|original_file|language|is_original_language|duration|training_data|model_name|architecture|transcript\n"
)

SYSTEM = "fake/en/tts_models_en_ljspeech_vits"
BOOK = "en_US/by_book/female/judy_bieber/wizard/wavs"
TRAINED = "ljspeech|tts_models/en/ljspeech/vits|vits"

EXAMPLE = Example(
    files={
        f"{SYSTEM}/meta.csv": HEADER
        + f'./{SYSTEM}/wizard_03.wav|{BOOK}/wizard_03.wav|en|True|5.1|{TRAINED}|"Oh dear, cried the girl.\n'
        + f"./{SYSTEM}/wizard_04.wav|{BOOK}/wizard_04.wav|en|True|2.0|{TRAINED}|She said no.\n"
        + f'./{SYSTEM}/wizard_05.wav|{BOOK}/wizard_05.wav|en|True|2.5|{TRAINED}|And "he" laughed."\n',
        "fake/de/bark/meta.csv": HEADER
        + "./fake/de/bark/wizard_03.wav|de_DE/by_book/mix/haha/wavs/haha_01.wav|de|False"
        "|3.0|-|suno/bark|bark|Ja.\n",
    },
    audio=(
        f"{SYSTEM}/wizard_03.wav",
        f"{SYSTEM}/wizard_04.wav",
        f"{SYSTEM}/wizard_05.wav",
        "fake/de/bark/wizard_03.wav",
    ),
    companions={"m_ailabs": "m_ailabs"},
    trials={
        "en/tts_models_en_ljspeech_vits/wizard_03": {
            "label": "spoof",
            "attack_id": "tts_models_en_ljspeech_vits",
            "language": "en",
            "transcript": '"Oh dear, cried the girl.',
        },
        "en/tts_models_en_ljspeech_vits/wizard_04": {"label": "spoof", "architecture": "vits"},
        "en/tts_models_en_ljspeech_vits/wizard_05": {"text_id": "wizard_05"},
        "de/bark/wizard_03": {
            "label": "spoof",
            "attack_id": "bark",
            "language": "de",
            "text_id": "haha_01",
        },
        f"m_ailabs/{BOOK}/wizard_03": {
            "label": "bonafide",
            "source_id": "m_ailabs",
            "domain": "mlaad",
            "speaker_id": "judy_bieber",
        },
        "m_ailabs/de_DE/by_book/mix/haha/wavs/haha_01": {"label": "bonafide", "language": "de"},
    },
)


@CORPORA.register("mlaad", LAYOUT, PUBLISHED, EXAMPLE)
def read(
    root: PathLike,
    split: str | None = None,
    m_ailabs: str | None = None,
    bona_fide_trials: int | None = None,
    seed: int = 0,
) -> Reading:
    """Every row of every `meta.csv`. Its text is not quoted: a quotation mark in it is only a character.

    Args:
        m_ailabs: folder of the bona fide companion.
        bona_fide_trials: how many of it to draw; all if None.
        seed: of the draw.
    Source:
        Müller et al., MLAAD: the multi-language audio anti-spoofing dataset, IJCNN 2024.
    """
    corpus = open_corpus("mlaad", LAYOUT, root)
    folder = corpus.root
    parts = []
    for key in sorted(folder.glob("fake/*/*/meta.csv")):
        language, system = key.parent.parts[-2:]
        rows = read_headed(key, ("path",), separator="|", quoted=False)
        name = pl.col("path").str.extract(r"([^/\\]*?)(?:\.[^./\\]*)?$")
        here = key.parent.relative_to(folder).as_posix()
        parts.append(
            rows.with_columns(
                (pl.lit(f"{language}/{system}/") + name).alias("utterance_id"),
                (pl.lit(f"{here}/") + name).alias("file"),
                pl.lit("spoof").alias("label"),
                pl.lit(system).alias("attack_id"),
                pl.lit(language).alias("language"),
                _text_id(rows, name).alias("text_id"),
            ).drop("path")
        )
    if not parts:
        raise CorpusError(f"mlaad: no fake/<language>/<system>/meta.csv lies below {str(folder)!r}")
    made = corpus.assemble(pl.concat(parts, how="diagonal"), split, ending=".wav")
    bona_fide = corpus.companions({"m_ailabs": m_ailabs}, bona_fide_trials, seed)
    return corpus.reading(made.with_frame(with_companions(made.frame, bona_fide)))


def _text_id(rows: pl.DataFrame, name: pl.Expr) -> pl.Expr:
    """What was spoken: the M-AILABS recording whose text the system was given."""
    if "original_file" not in rows.columns:
        return name
    return pl.coalesce(pl.col("original_file").str.extract(r"([^/\\]+?)(?:\.[^./\\]*)?$"), name)
