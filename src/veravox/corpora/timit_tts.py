"""TIMIT-TTS, the clean part: twelve text-to-speech systems; spoof only, paired with VidTIMIT."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, with_companions
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading

LAYOUT = Layout(
    "a folder with CLEAN/single_speaker/<system>/*.wav and CLEAN/multi_speaker/<system>/<speaker>/*.wav",
    ((Marker("CLEAN/single_speaker"),), (Marker("CLEAN/multi_speaker"),)),
)

PUBLISHED = (Published({}, spoof=19_780),)
"""A quarter of the 79,120 published: CLEAN is one of four versions of the same tracks."""

EXAMPLE = Example(
    audio=(
        "CLEAN/single_speaker/tacotron2/fadg0_sa1.wav",
        "CLEAN/single_speaker/vits/fadg0_sa1.wav",
        "CLEAN/multi_speaker/vits/p225/fadg0_sa1.wav",
        "CLEAN/multi_speaker/vits/p226/fadg0_sa1.wav",
    ),
    companions={"vidtimit": "vidtimit"},
    trials={
        "single_speaker/tacotron2/fadg0_sa1": {"label": "spoof", "attack_id": "tacotron2", "text_id": "fadg0_sa1"},
        "single_speaker/vits/fadg0_sa1": {"attack_id": "vits", "language": "en", "speaker_id": None},
        "multi_speaker/vits/p225/fadg0_sa1": {"speaker_id": "p225"},
        "multi_speaker/vits/p226/fadg0_sa1": {"speaker_id": "p226", "style": "multi_speaker"},
        "vidtimit/fadg0/audio/sa1": {"label": "bonafide", "speaker_id": "fadg0", "domain": "timit_tts"},
        "vidtimit/mabw0/audio/sa1": {"label": "bonafide", "source_id": "vidtimit"},
    },
)


@CORPORA.register("timit_tts", LAYOUT, PUBLISHED, EXAMPLE)
def read(
    root: PathLike,
    split: str | None = None,
    vidtimit: str | None = None,
    bona_fide_trials: int | None = None,
    seed: int = 0,
) -> Reading:
    """Every file of CLEAN; one stem lies in many folders, so an id holds them. The other parts are left alone.

    Args:
        vidtimit: folder of VidTIMIT, the bona fide companion.
        bona_fide_trials: how many of it to draw; all if None.
        seed: of the draw.
    Source:
        Salvi et al., TIMIT-TTS: a text-to-speech dataset for multimodal synthetic media detection, Access 2023.
    """
    corpus = open_corpus("timit_tts", LAYOUT, root)
    pattern = (
        r"^CLEAN/(?P<style>single_speaker|multi_speaker)/(?P<attack_id>[^/]+)/(?:(?P<speaker_id>[^/]+)/)?"
        r"(?:[^/]+/)*(?P<text_id>[^/]+)$"
    )
    trials = corpus.matched(pattern, ("CLEAN",)).with_columns(
        pl.col("utterance_id").str.strip_prefix("CLEAN/"),
        pl.lit("spoof").alias("label"),
        pl.lit("en").alias("language"),
    )
    made = corpus.assemble(trials, split)
    bona_fide = corpus.companions({"vidtimit": vidtimit}, bona_fide_trials, seed)
    return corpus.reading(made.with_frame(with_companions(made.frame, bona_fide)))
