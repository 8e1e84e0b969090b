"""ASVspoof 2021, physical access: replay in real rooms."""

from __future__ import annotations

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike
from veravox.corpora.reading.asvspoof import read_2021
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.tables.keys import KEY_COLUMNS

LAYOUT = Layout(
    "a folder with ASVspoof2021_PA_eval/flac/ (or its parts, each in a folder) and keys/PA/CM/trial_metadata.txt",
    (
        (Marker("keys/PA/CM/trial_metadata.txt"),),
        (Marker("*keys*/keys/PA/CM/trial_metadata.txt"),),
        (Marker("ASVspoof2021_PA_eval/flac"),),
    ),
)

PUBLISHED = (
    Published({}, bonafide=126_630, spoof=816_480),
    Published({"phase": "eval"}, bonafide=94_068, spoof=627_264),
    Published({"phase": "progress"}, trials=87_048),
    Published({"phase": "hidden"}, trials=134_730),
)

EXAMPLE = Example(
    files={
        "PA-keys-full/keys/PA/CM/trial_metadata.txt": (
            "PA_0010 PA_E_1000001 R1 M1 d2 r1 m1 s2 c4 spoof notrim eval\n"
            "PA_0010 PA_E_1000002 R1 M1 d2 - - - - bonafide notrim eval\n"
            "PA_0011 PA_E_1000003 R3 M2 d1 r2 m2 s3 c2 spoof notrim hidden\n"
        ),
    },
    audio=(
        "ASVspoof2021_PA_eval/flac/PA_E_1000001.flac",
        "ASVspoof2021_PA_eval/flac/PA_E_1000002.flac",
        "ASVspoof2021_PA_eval/flac/PA_E_1000003.flac",
    ),
    options={"phase": "all"},
    trials={
        "PA_E_1000001": {"label": "spoof", "room": "R1", "microphone": "M1", "attack_id": "m1-s2-c4"},
        "PA_E_1000002": {"label": "bonafide", "attack_id": None, "talker_distance": "d2"},
        "PA_E_1000003": {"label": "spoof", "phase": "hidden", "attacker_room": "r2"},
    },
)


@CORPORA.register("asvspoof2021_pa", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None, phase: str = "eval") -> Reading:
    """The trials of the key; `attack_id` joins the attacker's microphone, loudspeaker and distance codes.

    Args:
        phase: `eval`, `progress`, `hidden`, or `all`.
    Source:
        Liu et al., ASVspoof 2021: towards spoofed and deepfake speech detection in the wild, TASLP 2023.
    """
    return read_2021("asvspoof2021_pa", "PA", KEY_COLUMNS["asvspoof2021_pa"], LAYOUT, root, split, phase)
