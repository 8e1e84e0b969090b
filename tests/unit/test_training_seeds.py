"""Several seeds of one recipe: each its own run, resumable, with mean and deviation, and their table."""

from __future__ import annotations

import json
import os
import signal
import statistics
from contextlib import contextmanager

import polars as pl
import pytest
import torch

from tiny import tiny_recipe, tiny_stage
from veravox.apps.cli import main
from veravox.apps.commands.train import parse_seeds
from veravox.errors import ConfigurationError, TrainingError
from veravox.files import write_text
from veravox.models import read_checkpoint
from veravox.tables import read_protocol
from veravox.training import change, fit, fit_seeds

RECIPE = tiny_recipe(stages=(tiny_stage("joint", epochs=1, draws=16),), augmentation=())


@pytest.fixture
def data(samples):
    protocol = read_protocol(samples / "protocol.csv")
    train, dev = protocol.where(split="train"), protocol.where(split="dev")
    return train, dev.with_frame(dev.frame.sample(16, seed=4))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def weights_of(folder):
    return read_checkpoint(folder).model.state_dict()


@pytest.mark.parametrize(("text", "seeds"), [("0,1,2", (0, 1, 2)), ("0-2", (0, 1, 2)), ("7, 3-4", (7, 3, 4))])
def test_seeds_are_written_as_a_list_or_a_range(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["3", "", "1,1", "2-1", "0-2,1", "one", "-1", "0,,1"])
def test_what_could_mean_either_or_nothing_is_refused(text):
    with pytest.raises(ConfigurationError, match="--seeds"):
        parse_seeds(text)


def test_each_seed_is_the_run_that_it_would_be_alone_and_mean_and_deviation_are_theirs(tmp_path, data):
    found = fit_seeds(RECIPE, (0, 3), *data, tmp_path / "runs", workers=0, say=lambda line: None)
    alone = fit(change(RECIPE, ["seed=3"]), *data, tmp_path / "alone", workers=0, say=lambda line: None)
    three = weights_of(tmp_path / "runs/seed-3")
    assert all(torch.equal(value, three[name]) for name, value in alone.model.state_dict().items())
    zero = weights_of(tmp_path / "runs/seed-0")
    assert not all(torch.equal(zero[name], three[name]) for name in zero)
    rates = [read_checkpoint(run.folder).provenance["metrics"]["dev_eer"] for run in found.runs]
    assert [run.dev_eer for run in found.runs] == rates
    assert found.mean == pytest.approx(statistics.mean(rates))
    assert found.deviation == pytest.approx(statistics.stdev(rates))
    assert f"± {100 * statistics.stdev(rates):.2f} % over 2 seeds (0, 3)" in str(found)
    written = json.loads((tmp_path / "runs/seeds.json").read_text())
    assert [run["folder"] for run in written["runs"]] == ["seed-0", "seed-3"]
    assert written["deviation"] == found.deviation


def test_a_resume_leaves_finished_seeds_goes_on_in_the_cut_one_and_begins_the_rest(tmp_path, data):
    recipe = change(RECIPE, ["training.draws=32"])
    whole = fit(change(recipe, ["seed=1"]), *data, tmp_path / "whole", workers=0, say=lambda line: None)
    lines: list[str] = []

    @contextmanager
    def interrupt(what, total):
        yield (
            lambda steps: "/" in what and steps and "seed 1" in lines[-1] and os.kill(os.getpid(), signal.SIGINT)
        )

    with pytest.raises(TrainingError, match="go on with --resume"):
        fit_seeds(recipe, (0, 1), *data, tmp_path / "cut", workers=0, progress=interrupt, say=lines.append)
    before = (tmp_path / "cut/seed-0/detector.safetensors").stat().st_mtime_ns
    assert not (tmp_path / "cut/seed-1/detector.safetensors").exists()
    with pytest.raises(TrainingError, match="add --resume"):
        fit_seeds(recipe, (0, 1), *data, tmp_path / "cut", workers=0, say=lines.append)
    (tmp_path / "cut/seed-2").mkdir()
    (tmp_path / "cut/seed-2/metrics.jsonl").write_text("")  # killed before its first state was written
    lines.clear()
    again = fit_seeds(recipe, (0, 1, 2), *data, tmp_path / "cut", workers=0, resume=True, say=lines.append)
    told = [line.partition(" in ")[0] for line in lines if line.startswith("seed")]
    assert told == ["seed 0: finished before, left as it is", "seed 1: goes on", "seed 2: begins"]
    assert before == (tmp_path / "cut/seed-0/detector.safetensors").stat().st_mtime_ns
    assert [run.seed for run in again.runs] == [0, 1, 2]
    resumed = weights_of(tmp_path / "cut/seed-1")
    assert all(torch.equal(value, resumed[name]) for name, value in whole.model.state_dict().items())
    other = change(recipe, ["training.learning_rate=0.1"])
    with pytest.raises(TrainingError, match="another recipe or other data"):
        fit_seeds(other, (0,), *data, tmp_path / "cut", workers=0, resume=True)


def test_the_command_trains_seeds_and_the_table_shows_their_mean_and_deviation(tmp_path, data, capsys):
    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    for protocol, name in zip(data, ("train", "dev"), strict=True):
        frame = protocol.frame.with_columns(pl.Series("path", protocol.audio_paths(), dtype=pl.String))
        frame.write_csv(tmp_path / f"{name}.csv")
    write_text(tmp_path / "tiny.yaml", RECIPE.to_yaml())
    given = ["train", tmp_path / "tiny.yaml", "--data", f"train={tmp_path / 'train.csv'}"]
    given += ["--data", f"dev={tmp_path / 'dev.csv'}", "--workers", 0, "-q"]
    code, out, err = run(*given, "--seeds", "0-1", "--out", tmp_path / "adam")
    assert (code, err) == (0, "")
    assert "over 2 seeds (0, 1)" in out
    sam = (*given, "--set", "training.sharpness={rho: 0.05}")
    assert "no standard deviation" in run(*sam, "--seeds", "0-0", "--out", tmp_path / "sam")[1]
    code, _, err = run(*given, "--seeds", "0-1", "--set", "seed=3", "--out", tmp_path / "x")
    assert (code, err.count("\n")) == (2, 1)
    for folder in ("adam/seed-0", "adam/seed-1", "sam/seed-0"):
        scores = (tmp_path / folder / "dev_scores.csv").read_text()
        write_text(tmp_path / folder / "dev.csv", scores)
    rows = [f"tiny/Adam:{tmp_path / 'adam'}", f"tiny/SAM:{tmp_path / 'sam'}"]
    shown = ("table", *rows, "--datasets", f"dev={tmp_path / 'dev.csv'}", "--format", "json")
    found = json.loads(run(*shown)[1])
    adam, sam = found["rows"][0]["cells"]["dev"]
    summary = json.loads((tmp_path / "adam/seeds.json").read_text())
    assert (adam["name"], sam["name"]) == ("Adam eer", "SAM eer")
    assert adam["mean"] == pytest.approx(summary["dev_eer"])
    assert adam["deviation"] == pytest.approx(summary["deviation"])
    assert (len(sam["runs"]), sam["deviation"]) == (1, None)
    assert "a value without deviation is of a single run" in found["caption"]
