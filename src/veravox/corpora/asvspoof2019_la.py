"""ASVspoof 2019, logical access: text-to-speech and voice conversion, attacks A01 to A19."""

from __future__ import annotations

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike
from veravox.corpora.reading.asvspoof import read_2019
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.tables.keys import KEY_COLUMNS

LAYOUT = Layout(
    "the folder LA, with ASVspoof2019_LA_cm_protocols/ and ASVspoof2019_LA_{train,dev,eval}/flac/",
    ((Marker("ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.*.txt"),),),
)

PUBLISHED = (
    Published({"split": "train"}, bonafide=2_580, spoof=22_800),
    Published({"split": "dev"}, bonafide=2_548, spoof=22_296),
    Published({"split": "eval"}, bonafide=7_355, spoof=63_882),
)

EXAMPLE = Example(
    files={
        "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt": (
            "LA_0079 LA_T_1138215 - - bonafide\nLA_0079 LA_T_1271820 - - bonafide\n"
            "LA_0079 LA_T_7330004 - A01 spoof\n"
        ),
        "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt": (
            "LA_0069 LA_D_1047731 - - bonafide\nLA_0076 LA_D_9921018 - A06 spoof\n"
        ),
        "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt": (
            "LA_0039 LA_E_2834763 - A11 spoof\nLA_0014 LA_E_8877452 - A14 spoof\n"
            "LA_0049 LA_E_1000147 - - bonafide\n"
        ),
    },
    audio=(
        "ASVspoof2019_LA_train/flac/LA_T_1138215.flac",
        "ASVspoof2019_LA_train/flac/LA_T_1271820.flac",
        "ASVspoof2019_LA_train/flac/LA_T_7330004.flac",
        "ASVspoof2019_LA_dev/flac/LA_D_1047731.flac",
        "ASVspoof2019_LA_dev/flac/LA_D_9921018.flac",
        "ASVspoof2019_LA_eval/flac/LA_E_2834763.flac",
        "ASVspoof2019_LA_eval/flac/LA_E_8877452.flac",
        "ASVspoof2019_LA_eval/flac/LA_E_1000147.flac",
        "ASVspoof2019_LA_eval/flac/LA_E_9999999.flac",
    ),
    extra=("ASVspoof2019_LA_eval/flac/LA_E_9999999.flac",),
    trials={
        "LA_T_1138215": {"label": "bonafide", "speaker_id": "LA_0079", "attack_id": None, "split": "train"},
        "LA_T_1271820": {"label": "bonafide"},
        "LA_T_7330004": {"label": "spoof", "attack_id": "A01"},
        "LA_D_1047731": {"label": "bonafide", "split": "dev"},
        "LA_D_9921018": {"label": "spoof", "attack_id": "A06"},
        "LA_E_2834763": {"label": "spoof", "attack_id": "A11", "split": "eval"},
        "LA_E_8877452": {"label": "spoof"},
        "LA_E_1000147": {"label": "bonafide", "path": "ASVspoof2019_LA_eval/flac/LA_E_1000147.flac"},
    },
)


@CORPORA.register("asvspoof2019_la", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """The trials of the countermeasure protocols; the enrolment files in the FLAC folders are no trials.

    Source:
        Wang et al., ASVspoof 2019: a large-scale public database, Computer Speech & Language 2020.
    """
    return read_2019("asvspoof2019_la", "LA", KEY_COLUMNS["asvspoof2019_la"], LAYOUT, root, split)
