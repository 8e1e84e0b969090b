"""PartialSpoof: 2019 LA with synthetic stretches spliced into speech, and labels per segment."""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import CorpusFolder, PathLike, open_corpus, standard_split
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.listing import first_match
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import blank_to_null, read_fields, with_labels
from veravox.errors import CorpusError
from veravox.tables import BONA_FIDE, SPOOF, Segments

LAYOUT = Layout(
    "the folder database, with {train,dev,eval}/con_wav/*.wav, segment_labels/ and protocols/",
    ((Marker("train/con_wav"),), (Marker("dev/con_wav"),), (Marker("eval/con_wav"),)),
)

PUBLISHED = (
    Published({"split": "train"}, bonafide=2_580, spoof=22_800),
    Published({"split": "dev"}, bonafide=2_548, spoof=22_296),
    Published({"split": "eval"}, bonafide=7_355, spoof=63_882),
)

SPLITS = ("train", "dev", "eval")
HOPS_S = ("0.16", "0.02", "0.04", "0.08", "0.32", "0.64", "0.01")


def _npy(labels: dict[str, list[str]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array(labels, dtype=object), allow_pickle=True)
    return buffer.getvalue()


EXAMPLE = Example(
    files={
        "protocols/PartialSpoof_LA_cm_protocols/PartialSpoof.LA.cm.train.trl.txt": (
            "LA_0079 LA_T_1138215 - - bonafide\nLA_0079 CON_T_0000001 - CON spoof\n"
        ),
        "segment_labels/train_seglab_0.16.npy": _npy(
            {"LA_T_1138215": ["1", "1"], "CON_T_0000001": ["1", "0", "0", "1", "0"]}
        ),
        "segment_labels/dev_seglab_0.16.npy": _npy({"CON_D_0000001": ["0"], "LA_D_1047731": ["1"]}),
    },
    audio=(
        "train/con_wav/LA_T_1138215.wav",
        "train/con_wav/CON_T_0000001.wav",
        "dev/con_wav/CON_D_0000001.wav",
        "dev/con_wav/LA_D_1047731.wav",
    ),
    trials={
        "LA_T_1138215": {"label": "bonafide", "split": "train", "speaker_id": "LA_0079"},
        "CON_T_0000001": {"label": "spoof", "attack_id": "CON"},
        "CON_D_0000001": {"label": "spoof", "split": "dev"},
        "LA_D_1047731": {"label": "bonafide", "split": "dev"},
    },
)


@CORPORA.register("partialspoof", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """The trials of the protocols; without a protocol, of the folder, spoof if any segment is (`read_segments`).

    Source:
        Zhang et al., The PartialSpoof database and countermeasures, TASLP 2023.
    """
    corpus = open_corpus("partialspoof", LAYOUT, root)
    folder = corpus.root
    wanted, parts = standard_split(split), []
    for part in SPLITS:
        if wanted in (None, part) and (folder / part / "con_wav").is_dir():
            parts.append(
                _read(corpus, part).with_columns(pl.lit(part).alias("split"), pl.lit("en").alias("language"))
            )
    if not parts:
        raise CorpusError(f"partialspoof has no {split} folder below {str(folder)!r}")
    audio = [f"{part}/con_wav" for part in SPLITS if wanted in (None, part)]
    return corpus.reading(corpus.assemble(pl.concat(parts, how="diagonal"), split, audio, ending=".wav"))


def _read(corpus: CorpusFolder, split: str) -> pl.DataFrame:
    folder, name = corpus.root, f"PartialSpoof.LA.cm.{split}.trl.txt"
    key = first_match(
        folder, (f"protocols/PartialSpoof_LA_cm_protocols/{name}", f"protocols/{name}", f"*/*/{name}")
    )
    if key is not None:
        columns = ("speaker_id", "utterance_id", "_", "attack_id", "label")
        rows = blank_to_null(with_labels(read_fields(key, columns), key), "attack_id")
    else:
        found = corpus.matched(r"^[a-z]+/con_wav/(?P<name>[^/]+)$", (f"{split}/con_wav",))
        labels = {name: _label(values) for name, values in segment_labels(folder, split)[0].items()}
        unknown = [name for name in found["name"] if name not in labels]
        if unknown:
            raise CorpusError(f"partialspoof: {len(unknown)} files have no segment labels, first {unknown[0]!r}")
        ids = found["name"]
        rows = pl.DataFrame({"utterance_id": ids, "label": [labels[name] for name in ids]})
    return rows.with_columns((pl.lit(f"{split}/con_wav/") + pl.col("utterance_id")).alias("file"))


def _label(values: list[str]) -> str:
    return SPOOF if "0" in values else BONA_FIDE


def segment_labels(folder: Path, split: str, hop_s: str | None = None) -> tuple[dict[str, list[str]], float]:
    """Labels per segment (`1` bona fide, `0` spoof) of one split, and the seconds that each covers.

    Args:
        hop_s: one of the resolutions that are there, like `0.02`; the first of a stated order if None.
    Raises:
        CorpusError: if the file is missing, or is not a dictionary of lists.
    """
    for hop in (hop_s,) if hop_s else HOPS_S:
        path = folder / "segment_labels" / f"{split}_seglab_{hop}.npy"
        if path.exists():
            return _load_labels(path), float(hop)
    wanted = f"{split}_seglab_{hop_s or '*'}.npy"
    raise CorpusError(f"partialspoof: {wanted!r} is missing in {str(folder / 'segment_labels')!r}")


def read_segments(root: PathLike, split: str, hop_s: str | None = None) -> Segments:
    """What is fake inside each utterance of a split: runs of equal segment labels, in seconds.

    Args:
        root: the folder `database`.
        split: `train`, `dev` or `eval`.
        hop_s: resolution, like `0.02`; 0.16 s if None and there.
    Raises:
        CorpusError: if the labels are missing or damaged.
    """
    corpus = open_corpus("partialspoof", LAYOUT, root)
    folder = corpus.root
    part = standard_split(split)
    assert part is not None
    labels, hop = segment_labels(folder, part, hop_s)
    rows: dict[str, list[Any]] = {"utterance_id": [], "start_s": [], "end_s": [], "label": []}
    for name, values in labels.items():
        spoofed = np.asarray(values) == "0"
        edges = [0, *(np.flatnonzero(np.diff(spoofed)) + 1).tolist(), len(spoofed)]
        for start, end in itertools.pairwise(edges):
            rows["utterance_id"].append(name)
            rows["start_s"].append(round(start * hop, 6))
            rows["end_s"].append(round(end * hop, 6))
            rows["label"].append(SPOOF if spoofed[start] else BONA_FIDE)
    return Segments(pl.DataFrame(rows), name=f"partialspoof {part}")


def _load_labels(path: Path) -> dict[str, list[str]]:
    """The dictionary of lists in an .npy file, read by an unpickler that builds plain data and nothing else."""
    from veravox.corpora.reading.plain_pickle import load_npy_object

    labels = load_npy_object(path)
    if not isinstance(labels, dict) or not all(_is_row(row) for row in labels.values()):
        raise CorpusError(f"{str(path)!r} does not hold a dictionary of segment labels")
    return {str(name): [str(value) for value in values] for name, values in labels.items()}


def _is_row(row: object) -> bool:
    return isinstance(row, list | tuple | np.ndarray) and len(row) > 0
