"""ASVspoof 2021, deepfake: many vocoders and voice conversions, through lossy codecs."""

from __future__ import annotations

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike
from veravox.corpora.reading.asvspoof import read_2021
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.tables.keys import KEY_COLUMNS

LAYOUT = Layout(
    "a folder with ASVspoof2021_DF_eval/flac/ (or its parts, each in a folder) and keys/DF/CM/trial_metadata.txt",
    (
        (Marker("keys/DF/CM/trial_metadata.txt"),),
        (Marker("*keys*/keys/DF/CM/trial_metadata.txt"),),
        (Marker("ASVspoof2021_DF_eval/flac"),),
    ),
)

PUBLISHED = (Published({}, trials=611_829), Published({"phase": "eval"}, bonafide=14_869, spoof=519_059))

EXAMPLE = Example(
    files={
        "DF-keys-full/keys/DF/CM/trial_metadata.txt": (
            "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
            "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval "
            "neural_vocoder_nonautoregressive Task1 team20 FF E\n"
            "VCC2TF1 DF_E_2000026 mp3m4a vcc2018 - bonafide notrim eval bonafide - - - -\n"
        ),
    },
    audio=(
        "ASVspoof2021_DF_eval_part00/ASVspoof2021_DF_eval/flac/DF_E_2000011.flac",
        "ASVspoof2021_DF_eval_part00/ASVspoof2021_DF_eval/flac/DF_E_2000013.flac",
        "ASVspoof2021_DF_eval_part01/ASVspoof2021_DF_eval/flac/DF_E_2000026.flac",
    ),
    options={"phase": "all"},
    trials={
        "DF_E_2000011": {"label": "spoof", "codec": "nocodec", "source_id": "asvspoof", "phase": "progress"},
        "DF_E_2000013": {"attack_id": "Task1-team20", "vocoder": "neural_vocoder_nonautoregressive"},
        "DF_E_2000026": {
            "label": "bonafide",
            "attack_id": None,
            "path": "ASVspoof2021_DF_eval_part01/ASVspoof2021_DF_eval/flac/DF_E_2000026.flac",
        },
    },
)


@CORPORA.register("asvspoof2021_df", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None, phase: str = "eval") -> Reading:
    """The trials of the key; published figures are about the phase `eval`.

    Args:
        phase: `eval`, `progress`, `hidden`, or `all`.
    Source:
        Liu et al., ASVspoof 2021: towards spoofed and deepfake speech detection in the wild, TASLP 2023.
    """
    return read_2021("asvspoof2021_df", "DF", KEY_COLUMNS["asvspoof2021_df"], LAYOUT, root, split, phase)
