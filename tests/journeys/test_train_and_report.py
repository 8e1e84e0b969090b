"""From a recipe to a filed page, through the command line, on the bundled clips."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tiny import tiny_recipe, tiny_stage
from veravox.apps.cli import main
from veravox.models import read_checkpoint
from veravox.tables import Scores, read_protocol


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def run(capsys, *arguments, code=0):
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert end.value.code == code, captured.err
    return captured.out


@pytest.fixture
def recipe_file(tmp_path):
    recipe = tiny_recipe(stages=(tiny_stage("joint", epochs=2, draws=32, expert_loss_weight=1.0),))
    (tmp_path / "tiny.yaml").write_text(recipe.to_yaml())
    return tmp_path / "tiny.yaml"


def test_train_score_evaluate_and_report(tmp_path, samples, recipe_file, capsys):
    data = f"corpus={samples / 'protocol.csv'}"
    command = ("train", recipe_file, "--data", data, "--out", tmp_path / "run", "--workers", 0, "-q", "--json")
    printed = json.loads(run(capsys, *command))
    assert printed["dev_eer"] == read_checkpoint(tmp_path / "run").provenance["metrics"]["dev_eer"]
    protocol = read_protocol(samples / "protocol.csv").where(split="eval")
    protocol.write(tmp_path / "eval.csv")
    out = tmp_path / "scores.csv"
    run(capsys, "score", tmp_path / "eval.csv", "--model", tmp_path / "run", "--out", out, "-q")
    scores = Scores.read(out)
    assert len(scores) == len(protocol)
    assert json.loads((tmp_path / "scores.run.json").read_text())["trials"] == len(protocol)
    assert "EER" in run(capsys, "evaluate", out, tmp_path / "eval.csv")
    path = protocol.audio_paths()[0]
    run(capsys, "report", path, "--model", tmp_path / "run", "--out", tmp_path / "page")
    content = json.loads((tmp_path / "page/report.json").read_text())
    page = (tmp_path / "page/report.html").read_text()
    model = read_checkpoint(tmp_path / "run")
    assert content["detector"]["sha256"] == model.sha256
    row = scores.frame.row(scores.frame["utterance_id"].to_list().index(protocol.utterance_ids[0]), named=True)
    assert content["verdict"]["score"] == pytest.approx(row["score"], abs=1e-5)
    assert "http://" not in page
    assert "https://" not in page
    for fact in (content["file"]["sha256"], model.sha256, content["verdict"]["verdict"], "data:image/png"):
        assert fact in page


def test_eval_trials_given_to_training_are_refused(tmp_path, samples, recipe_file, capsys):
    read_protocol(samples / "protocol.csv").where(split="eval").write(tmp_path / "eval.csv")
    held_out = tmp_path / "eval.csv"
    command = ["train", recipe_file, "--data", f"train={held_out}", "--data", f"dev={held_out}", "-q"]
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in [*command, "--out", tmp_path / "run"]])
    assert end.value.code == 2
    assert "training sees train and dev only" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_two_processes_train_together_and_agree(tmp_path, samples, recipe_file):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-addr", "127.0.0.1", "--master-port", str(port)]
    command += ["-m", "veravox", "train", str(recipe_file), "--out", str(tmp_path / "run")]
    command += ["--data", f"corpus={samples / 'protocol.csv'}", "--workers", "0", "--threads", "1", "-q"]
    command += ["--set", "training.epochs=1"]
    source = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("dev EER") == 1
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [2]
    assert read_checkpoint(tmp_path / "run").provenance["steps"] == 2


def test_recipes_and_models_are_listed_and_shown(capsys):
    assert "mile_slim" in run(capsys, "recipe", "list")
    assert "resnet_spectrogram" in run(capsys, "recipe", "show", "mile_slim")
    shown = json.loads(run(capsys, "recipe", "show", "mile_slim", "--json", "--set", "training.epochs=3"))
    assert [stage["epochs"] for stage in shown["stages"]] == [3, 3]
