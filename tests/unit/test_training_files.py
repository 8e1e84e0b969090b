"""Files of a training are read before its first step; a run begins, or goes on, wherever it was killed."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager

import polars as pl
import pytest
import torch

from tiny import tiny_recipe, tiny_stage
from veravox.apps.cli import main
from veravox.errors import TrainingError
from veravox.models import read_checkpoint
from veravox.tables import Protocol, read_protocol
from veravox.training import fit, fit_seeds, run as run_module
from veravox.training.files import CHECKED_NAME, FileCheck
from veravox.training.state import STATE_NAME

RECIPE = tiny_recipe(stages=(tiny_stage("joint", epochs=1, draws=16, batch_size=4),), augmentation=())


@pytest.fixture
def data(samples) -> tuple[Protocol, Protocol]:
    torch.set_num_threads(1)
    protocol = read_protocol(samples / "protocol.csv")
    parts = [protocol.where(split=split) for split in ("train", "dev")]
    train, dev = (part.with_frame(part.frame.group_by("label", maintain_order=True).head(4)) for part in parts)
    return train, dev


@pytest.fixture
def damaged(data, tmp_path) -> Protocol:
    """The training trials; the first file is cut short, the last is missing."""
    train, _ = data
    paths = train.audio_paths()
    cut = tmp_path / "cut.flac"
    with open(paths[0], "rb") as whole:
        cut.write_bytes(whole.read()[:4000])
    paths = [str(cut), *paths[1:-1], str(tmp_path / "gone.flac")]
    return Protocol(train.frame.with_columns(path=pl.Series(paths)), name="the train data")


def test_bad_files_are_named_with_their_trials_before_anything_is_written(data, damaged, tmp_path):
    first, last = damaged.utterance_ids[0], damaged.utterance_ids[-1]
    with pytest.raises(TrainingError, match=rf"2 of 8 files cannot be read: {first} .*cut.*{last} .*gone"):
        fit(RECIPE, damaged, data[1], tmp_path / "run", workers=0, say=lambda line: None)
    assert not (tmp_path / "run").exists()


def test_bad_files_may_be_skipped_and_are_counted(data, damaged, tmp_path):
    said: list[str] = []
    trained = fit(RECIPE, damaged, data[1], tmp_path / "run", workers=0, say=said.append, on_bad_file="skip")
    assert any("2 of 8 trials left out" in line for line in said)
    assert trained.provenance["data"]["train"]["trials"] == 6
    names = [bad["utterance_id"] for bad in trained.provenance["skipped"]]
    assert names == [damaged.utterance_ids[0], damaged.utterance_ids[-1]]
    again = fit(
        RECIPE, damaged, data[1], tmp_path / "run", workers=0, resume=True, say=said.append, on_bad_file="skip"
    )
    assert again.provenance["skipped"] == trained.provenance["skipped"]


def test_a_file_is_read_once_unless_it_changed(data, tmp_path, monkeypatch):
    seen = Counter()
    check = FileCheck(say=lambda line: None)
    check.usable(data[0])
    check.write(tmp_path)
    assert set(json.loads((tmp_path / CHECKED_NAME).read_text())) == set(data[0].audio_paths())
    monkeypatch.setattr("veravox.training.files.read_audio", lambda path, rate: seen.update([path]))
    later = FileCheck(say=lambda line: None)
    later.remember(tmp_path)
    later.usable(data[0])
    assert not seen
    later.usable(data[1])
    later.usable(data[1])
    assert set(seen.values()) == {1}
    assert len(seen) == 8


def test_several_seeds_check_the_files_once(data, tmp_path, monkeypatch):
    seen = Counter()
    monkeypatch.setattr("veravox.training.files.read_audio", lambda path, rate: seen.update([path]))
    fit_seeds(RECIPE, (0, 1), *data, tmp_path / "runs", workers=0, say=lambda line: None)
    assert set(seen.values()) == {1}


def test_the_command_refuses_another_word_and_names_the_trial(damaged, data, tmp_path, capsys):
    damaged.write(tmp_path / "train.csv")
    data[1].write(tmp_path / "dev.csv")
    given = ["train", "slim_expert", "--data", f"train={tmp_path}/train.csv", "--data", f"dev={tmp_path}/dev.csv"]
    given += ["--out", str(tmp_path / "run"), "--workers", "0", "-q"]
    for options, words in ((["--on-bad-file", "ignore"], "takes stop or skip"), ([], damaged.utterance_ids[0])):
        with pytest.raises(SystemExit) as ended:
            main([*given, *options])
        assert ended.value.code == 2
        assert words in capsys.readouterr().err


def weights_of(folder):
    return read_checkpoint(folder).model.state_dict()


@pytest.mark.parametrize("kept_every_s", [0.0, 1e9])
def test_a_run_killed_within_an_epoch_goes_on_from_its_last_state_or_begins_and_ends_alike(
    data, tmp_path, monkeypatch, kept_every_s
):
    """A kill is an error between two steps, at which nothing is saved."""
    monkeypatch.setattr(run_module, "STATE_EVERY_S", kept_every_s)
    quiet = {"workers": 0, "say": lambda line: None}
    fit(RECIPE, *data, tmp_path / "whole", **quiet)
    steps = Counter()

    @contextmanager
    def killed(what, total):
        def advance(count):
            if what.startswith("joint"):
                steps["done"] += count
            if steps["done"] == 3 and count:
                raise KeyboardInterrupt

        yield advance

    with pytest.raises(KeyboardInterrupt):
        fit(RECIPE, *data, tmp_path / "cut", progress=killed, resume=True, **quiet)
    assert (tmp_path / "cut" / STATE_NAME).exists() == (kept_every_s == 0)
    fit(RECIPE, *data, tmp_path / "cut", resume=True, **quiet)
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert (tmp_path / "whole/metrics.jsonl").read_text() == (tmp_path / "cut/metrics.jsonl").read_text()
