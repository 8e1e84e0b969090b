"""Every command of the reference pages runs as it is shown, on files of the kinds that they name."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from corpora_examples import make_audio, unpack
from tiny import tiny_checkpoint, tiny_encoder
from veravox.apps.cli import main
from veravox.models import DetectorModel, DetectorSpec, write_checkpoint
from veravox.models.experts.aasist import WINDOW_SAMPLES
from veravox.models.import_weights import importable
from veravox.tables import read_protocol

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))
GUIDES = ("scoring", "training", "mixtures")
"""Their `sh` blocks are run by `test_documentation.py`, on all samples."""

SOME_CORPORA = {
    "asvspoof2019_la": "data/LA",
    "mlaad": "data/MLAAD",
    "m_ailabs": "data/M-AILABS",
    "in_the_wild": "data/itw",
}

MIX = """
about: the samples, one language held out
seed: 7
sources:
  samples: {protocol: samples/protocol.csv}
  mlaad: {corpus: mlaad, root: data/MLAAD, options: {m_ailabs: $m_ailabs, bona_fide_trials: 2}}
sets:
  train: {sources: [samples], balance: [label], trials: 4}
  dev: {sources: [samples], balance: [label]}
  unknown: {role: eval, sources: [samples], only: {language: ru}}
  other: {role: eval, sources: [mlaad]}
hold_out: {language: ru}
"""

SMALLER = {
    "bona_fide_trials=5000": "bona_fide_trials=2",
    "veravox train ": "veravox train --set training.epochs=1 --set training.draws=8 --workers 0 ",
}
"""What would take long, or more trials than there are."""


def commands_of(page: str) -> list[str]:
    """Lines of shell blocks that call veravox; of the guides, those in blocks that `sh` does not mark."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    languages = ("",) if page in GUIDES else ("", "sh")
    found, language = [], None
    for line in text.splitlines():
        if line.startswith("```"):
            language = line[3:] if language is None else None
        elif (language in languages and re.match("veravox |for ", line)) or line.startswith("    veravox "):
            found.append(line.partition("  #")[0].strip())
    return found


def unrolled(command: str) -> list[str]:
    """The commands of a shell loop over a pattern."""
    loop = re.fullmatch(r"for (\w+) in (\S+); do (.*); done", command)
    if loop is None:
        return [command]
    name, pattern, body = loop.groups()
    return [body.replace(f"${name}", str(path)) for path in sorted(Path().glob(pattern))]


def few_samples(folder: Path, each: int = 3, also: tuple[str, ...] = ()) -> None:
    """`samples/` with its protocol cut to some trials of every split and label, and of what else is named."""
    shutil.copytree(ROOT / "samples", folder / "samples")
    protocol = read_protocol(folder / "samples/protocol.csv")
    protocol.with_frame(protocol.frame.group_by("split", "label", *also, maintain_order=True).head(each)).write(
        folder / "samples/protocol.csv"
    )


def write_scores(path: Path, ids: list[str], labels: list[str], seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(size=len(ids))
    scores = noise + np.array([2.0 if label == "bonafide" else -2.0 for label in labels])
    if path.suffix == ".txt":
        path.write_text("".join(f"{name} {score:.6f}\n" for name, score in zip(ids, scores)))
    else:
        pl.DataFrame({"utterance_id": ids, "score": scores}).write_csv(path)


def write_trials(path: Path, prefix: str = "u", trials: int = 60) -> tuple[list[str], list[str]]:
    """A protocol with the columns that the pages group by; paths lead nowhere."""
    number = range(trials)
    frame = pl.DataFrame(
        {
            "utterance_id": [f"{prefix}{n}" for n in number],
            "path": [f"{prefix}{n}.flac" for n in number],
            "label": ["spoof" if n % 2 else "bonafide" for n in number],
            "attack_id": [f"A0{n % 4}" if n % 2 else None for n in number],
            "source_id": [None if n % 2 else f"S{n % 3}" for n in number],
            "codec": [("none", "mp3", "opus")[n % 3] for n in number],
            "domain": [("a", "b")[n // 2 % 2] for n in number],
            "speaker_id": [f"P{n % 15}" for n in number],
        }
    )
    frame.write_csv(path)
    return frame["utterance_id"].to_list(), frame["label"].to_list()


def evaluation_world(folder: Path) -> None:
    for name in ("protocol", "dev_protocol", "eval_protocol", "asv19", "for", "la", "itw"):
        ids, labels = write_trials(folder / f"{name}.csv", name)
        targets = {
            "protocol": ["scores.csv", "a.csv", "b.csv", "task1.csv"],
            "dev_protocol": ["dev.csv", "dev_a.csv", "dev_b.csv"],
            "eval_protocol": ["eval.csv", "eval_a.csv", "eval_b.csv"],
            "asv19": [f"runs/{run}/ASV19.csv" for run in ("mele-seed1", "mele-seed2", "mile")],
            "for": [f"runs/{run}/FoR.csv" for run in ("mele-seed1", "mele-seed2", "mile")],
            "la": ["runs/a/LA.csv", "runs/b/LA.csv"],
            "itw": ["runs/a/ITW.csv", "runs/b/ITW.csv"],
        }[name]
        for seed, target in enumerate(targets):
            write_scores(folder / target, ids, labels, seed)


def foreign_key(folder: Path, name: str, line: str) -> None:
    """A key of some foreign form beside a score file for the same trials."""
    labels = ["bonafide", "spoof"] * 12
    ids = [f"LA_E_{n:07d}" for n in range(24)]
    header = "file,speaker,label\n" if name.endswith(".csv") else ""
    rows = [
        line.format(
            id=i, label=key.replace("bona", "bona-") if header else key, attack="-" if key == "bonafide" else "A07"
        )
        for i, key in zip(ids, labels)
    ]
    (folder / name).write_text(header + "\n".join(rows) + "\n")
    scores = folder / "scores.txt"
    write_scores(scores, [f"{i}.wav" for i in ids] if header else ids, labels)
    if header:  # a second number in every line, so that the command has to choose
        scores.write_text("".join(f"{line} 0.5\n" for line in scores.read_text().splitlines()))


def corpora_world(folder: Path) -> None:
    few_samples(folder)
    for name, root in SOME_CORPORA.items():
        unpack(name, folder / root)
    for n in range(4):
        make_audio(folder / f"clips/{n}.wav", n)
    (folder / "list.csv").write_text("file,class\n" + "".join(f"clips/{n}.wav,{n % 2}\n" for n in range(4)))


def protocols_world(folder: Path) -> None:
    corpora_world(folder)
    protocol = read_protocol(folder / "samples/protocol.csv")
    frame = protocol.frame.with_columns(pl.Series("path", protocol.audio_paths())).drop(
        "attack_id", "source_id", strict=False
    )
    for part, split in (("train", "train"), ("test", "eval")):
        frame.filter(pl.col("split") == split).write_parquet(folder / f"{part}.parquet")
    (folder / "my-mix.yaml").write_text(MIX)


def models_world(folder: Path) -> None:
    few_samples(folder)
    shutil.copytree(ROOT / "samples/eval/spoof/flite", folder / "my_folder")
    window_s = WINDOW_SAMPLES / 16000
    for expert, name in (("aasist", "AASIST"), ("aasist_l", "AASIST-L"), ("rawnet2", "pre_trained_DF_RawNet2")):
        description = {
            "front_ends": {"waveform": "waveform"},
            "experts": {expert: {"front_end": "waveform", "name": expert}},
            "window_s": window_s,
        }
        ours = DetectorModel(DetectorSpec.parse(description)).mixture.experts[expert].state_dict()
        names = importable()[expert].names
        torch.save({theirs: ours[mine] for theirs, mine in names.items()}, folder / f"{name}.pth")


def sharpness_world(folder: Path) -> None:
    few_samples(folder, 4)
    protocol = read_protocol(folder / "samples/protocol.csv")
    frame = protocol.frame.with_columns(pl.Series("path", protocol.audio_paths()))
    frame.write_csv(folder / "trials.csv")
    for name, split in (("known", "dev"), ("unseen", "eval"), ("eval", "eval")):
        frame.filter(pl.col("split") == split).write_csv(folder / f"{name}.csv")
    for seed, run in enumerate(("run", "runs/slim_expert", "runs/other/seed-0", "runs/other/seed-1")):
        write_checkpoint(tiny_checkpoint(seed), folder / run)


def training_world(folder: Path) -> None:
    few_samples(folder, 1, ("domain",))
    protocol = read_protocol(folder / "samples/protocol.csv")
    frame = protocol.frame.with_columns(pl.Series("path", protocol.audio_paths()))
    frame.write_csv(folder / "trials.csv")
    frame.filter(pl.col("split") == "eval").write_csv(folder / "itw.csv")


def mixtures_world(folder: Path) -> None:
    training_world(folder)
    tiny_encoder(folder / "xlsr_300m")


def degradation_world(folder: Path) -> None:
    few_samples(folder, 1)


def segments_world(folder: Path) -> None:
    ids, labels = write_trials(folder / "protocol.csv")
    write_scores(folder / "scores.csv", ids, labels)
    noise = np.random.default_rng(0).normal(size=(len(ids), 2))
    windows = [
        (i, start, start + 1.0, float(noise[n, int(start)])) for n, i in enumerate(ids) for start in (0.0, 1.0)
    ]
    pl.DataFrame(windows, schema=["utterance_id", "start_s", "end_s", "score"], orient="row").write_csv(
        folder / "scores.windows.csv"
    )
    rows = [
        (i, start, start + 1.0, "spoof" if label == "spoof" and start else "bonafide")
        for i, label in zip(ids, labels)
        for start in (0.0, 1.0)
    ]
    pl.DataFrame(rows, schema=["utterance_id", "start_s", "end_s", "label"], orient="row").write_csv(
        folder / "segments.csv"
    )


WORLDS: dict[str, Callable[[Path], None]] = {
    "corpora": corpora_world,
    "degradation": degradation_world,
    "evaluation": evaluation_world,
    "metrics-segments": segments_world,
    "mixtures": mixtures_world,
    "models": models_world,
    "protocols": protocols_world,
    "sharpness": sharpness_world,
    "training": training_world,
}

KEYS = {
    "ASVspoof2019.LA.cm.eval.trl.txt": "LA_0039 {id} - {attack} {label}",
    "meta.csv": "{id}.wav,Someone,{label}",
    "trial_metadata.txt": "LA_0009 {id} alaw ita_tx {attack} {label} notrim eval",
}
"""Foreign keys that a page names, and a line of each."""

ELSEWHERE = {"import-checkpoint xlsr2_300m.pt": "test_ssl.py, which makes such a checkpoint"}


def test_every_page_with_commands_has_a_world_to_run_them_in():
    assert {page for page in PAGES if commands_of(page)} == set(WORLDS)


@pytest.mark.parametrize("page", WORLDS)
def test_every_command_of_the_page_runs(page, tmp_path, monkeypatch, capsys):
    WORLDS[page](tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    for shown in commands_of(page):
        for command in unrolled(shown):
            run(command, tmp_path, capsys)


def run(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, smaller in SMALLER.items():
        command = command.replace(number, smaller)
    words = shlex.split(command)[1:]
    if any(" ".join(words).startswith(start) for start in ELSEWHERE):
        return
    for name in set(words) & set(KEYS):
        foreign_key(folder, name, KEYS[name])
    if words[0] == "train" and "run" in words:
        shutil.rmtree(folder / "run", ignore_errors=True)  # pages use one name for the run of every example
    # What is written `...` stands for the data: all before it must be right, for data come last.
    expected = 2 if words[-1] == "..." else 0
    if expected:
        words[-1:] = ["--data", "corpus=absent.csv", "--out", "run-of-nothing"]
    with pytest.raises(SystemExit) as end:
        main(words)
    out, err = capsys.readouterr()
    assert end.value.code == expected, f"{command}: {out[-300:]} {err}"
    assert not expected or "absent.csv" in err, err
