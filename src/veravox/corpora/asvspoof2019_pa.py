"""ASVspoof 2019, physical access: replay in simulated rooms."""

from __future__ import annotations

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike
from veravox.corpora.reading.asvspoof import read_2019
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.tables.keys import KEY_COLUMNS

LAYOUT = Layout(
    "the folder PA, with ASVspoof2019_PA_cm_protocols/ and ASVspoof2019_PA_{train,dev,eval}/flac/",
    ((Marker("ASVspoof2019_PA_cm_protocols/ASVspoof2019.PA.cm.*.txt"),),),
)

PUBLISHED = (
    Published({"split": "train"}, bonafide=5_400, spoof=48_600),
    Published({"split": "dev"}, bonafide=5_400, spoof=24_300),
    Published({"split": "eval"}, bonafide=18_090, spoof=116_640),
)

EXAMPLE = Example(
    files={
        "ASVspoof2019_PA_cm_protocols/ASVspoof2019.PA.cm.train.trn.txt": (
            "PA_0079 PA_T_0000001 aaa - bonafide\nPA_0079 PA_T_0005401 aab AA spoof\n"
        ),
        "ASVspoof2019_PA_cm_protocols/ASVspoof2019.PA.cm.dev.trl.txt": (
            "PA_0069 PA_D_0000001 abc - bonafide\nPA_0069 PA_D_0005401 cca CC spoof\n"
        ),
        "ASVspoof2019_PA_cm_protocols/ASVspoof2019.PA.cm.eval.trl.txt": "PA_0039 PA_E_0000001 bbb BC spoof\n",
    },
    audio=(
        "ASVspoof2019_PA_train/flac/PA_T_0000001.flac",
        "ASVspoof2019_PA_train/flac/PA_T_0005401.flac",
        "ASVspoof2019_PA_dev/flac/PA_D_0000001.flac",
        "ASVspoof2019_PA_dev/flac/PA_D_0005401.flac",
        "ASVspoof2019_PA_eval/flac/PA_E_0000001.flac",
    ),
    trials={
        "PA_T_0000001": {"label": "bonafide", "environment_id": "aaa", "attack_id": None, "split": "train"},
        "PA_T_0005401": {"label": "spoof", "environment_id": "aab", "attack_id": "AA", "speaker_id": "PA_0079"},
        "PA_D_0000001": {"label": "bonafide", "split": "dev"},
        "PA_D_0005401": {"label": "spoof", "attack_id": "CC"},
        "PA_E_0000001": {"label": "spoof", "split": "eval"},
    },
)


@CORPORA.register("asvspoof2019_pa", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """The trials of the countermeasure protocols; `environment_id` is the room, `attack_id` the replay setting.

    Source:
        Wang et al., ASVspoof 2019: a large-scale public database, Computer Speech & Language 2020.
    """
    return read_2019("asvspoof2019_pa", "PA", KEY_COLUMNS["asvspoof2019_pa"], LAYOUT, root, split)
