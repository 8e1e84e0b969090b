"""ASVspoof 2021, logical access: 2019's attacks over telephone lines and codecs."""

from __future__ import annotations

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike
from veravox.corpora.reading.asvspoof import read_2021
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.tables.keys import KEY_COLUMNS

LAYOUT = Layout(
    "a folder with ASVspoof2021_LA_eval/flac/ and, unpacked beside it, keys/LA/CM/trial_metadata.txt",
    (
        (Marker("keys/LA/CM/trial_metadata.txt"),),
        (Marker("*keys*/keys/LA/CM/trial_metadata.txt"),),
        (Marker("ASVspoof2021_LA_eval/flac"),),
    ),
)

PUBLISHED = (
    Published({}, bonafide=18_452, spoof=163_114),
    Published({"phase": "eval"}, bonafide=14_816, spoof=133_360),
    Published({"phase": "progress"}, trials=16_464),
    Published({"phase": "hidden"}, trials=16_926),
)

EXAMPLE = Example(
    files={
        "keys/LA/CM/trial_metadata.txt": (
            "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n"
            "LA_0020 LA_E_6866159 opus loc_tx bonafide bonafide notrim eval\n"
            "LA_0020 LA_E_1000001 none - bonafide bonafide notrim progress\n"
        ),
    },
    audio=(
        "ASVspoof2021_LA_eval/flac/LA_E_9332881.flac",
        "ASVspoof2021_LA_eval/flac/LA_E_6866159.flac",
        "ASVspoof2021_LA_eval/flac/LA_E_1000001.flac",
    ),
    options={"phase": "all"},
    trials={
        "LA_E_9332881": {"label": "spoof", "codec": "alaw", "attack_id": "A07", "transmission": "ita_tx"},
        "LA_E_6866159": {"label": "bonafide", "attack_id": None, "phase": "eval", "split": "eval"},
        "LA_E_1000001": {"label": "bonafide", "phase": "progress", "speaker_id": "LA_0020"},
    },
)


@CORPORA.register("asvspoof2021_la", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None, phase: str = "eval") -> Reading:
    """The trials of the key; published figures are about the phase `eval`.

    Args:
        phase: `eval`, `progress`, `hidden`, or `all`.
    Source:
        Liu et al., ASVspoof 2021: towards spoofed and deepfake speech detection in the wild, TASLP 2023.
    """
    return read_2021("asvspoof2021_la", "LA", KEY_COLUMNS["asvspoof2021_la"], LAYOUT, root, split, phase)
