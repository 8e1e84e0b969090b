"""Every command and Python block of the README and the guides runs as it is shown."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from recordings import encode, speech_like
from veravox.apps.cli import main
from veravox.tables import read_protocol

ROOT = Path(__file__).parents[2]
GUIDES = ["README.md", "docs/scoring.md", "docs/training.md", "docs/mixtures.md"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture
def clips(tmp_path, monkeypatch):
    """A folder with the samples, as the guides see it."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


@pytest.mark.parametrize("page", GUIDES)
def test_every_command_of_the_page_runs(page, clips, capsys):
    commands = [line for block in blocks(page, "sh") for line in block.splitlines() if line.startswith("veravox")]
    assert commands
    for command in commands:
        with pytest.raises(SystemExit) as end:
            main([*shlex.split(command)[1:], *(["--workers", "0"] if " train " in command else [])])
        assert end.value.code == 0, f"{command}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", ["README.md", "docs/scoring.md", "docs/training.md"])
def test_every_python_block_of_the_page_runs(page, clips):
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), {})


def test_the_other_shell_commands_are_the_two_of_set_up():
    others = {
        line
        for block in blocks("README.md", "sh")
        for line in block.splitlines()
        if not line.startswith("veravox")
    }
    assert others == {"make demo", "pip install --constraint constraints.txt ."}


def test_every_command_in_the_text_of_the_readme_runs(clips, capsys):
    few = read_protocol("samples/protocol.csv")
    few = few.with_frame(few.frame.group_by("split", "label").head(4))
    few.write("trials.csv")
    few.write("trials.parquet")
    shutil.copytree("samples/eval/spoof/kokoro", "recordings")
    encode(clips / "call.m4a", speech_like(1.5, 44100), "aac", None, 44100)
    score_of = {"evaluate": lambda: main(["score", "trials.csv", "-q", "--out", "scores.csv"])}
    for command in re.findall(r"`(veravox [^`]+)`", (ROOT / "README.md").read_text(encoding="utf-8")):
        words = shlex.split(command)[1:]
        if words[0] in score_of:
            with pytest.raises(SystemExit):
                score_of[words[0]]()
        with pytest.raises(SystemExit) as end:
            main([*words, *(["--workers", "0"] if words[0] == "train" else [])])
        assert end.value.code == 0, f"{command}: {capsys.readouterr().err}"


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert os.path.exists(ROOT / target), target


def test_the_table_of_the_readme_is_what_the_demo_prints(clips, capsys):
    shown = blocks("README.md", "text")[0].splitlines()
    paths = [f"samples/{line.split()[0]}" for line in shown[1:]]
    with pytest.raises(SystemExit):
        main(["score", "-q", *paths])
    printed = capsys.readouterr().out.splitlines()
    assert len(paths) >= 5
    for ours, line in zip(printed[1:], shown[1:], strict=True):
        path, verdict, score, *rest = ours.split()
        name, _, shown_verdict, shown_score, *shown_rest = line.split()
        assert path == f"samples/{name}"
        assert verdict == shown_verdict
        assert float(score) == pytest.approx(float(shown_score), abs=0.021)
        assert rest[3:] == shown_rest[3:]
