"""Every command and Python block of the README and the guides runs as it is shown."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from veravox.apps.cli import main

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


@pytest.mark.parametrize("page", ["README.md", "docs/scoring.md"])
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


def test_every_command_named_in_the_readme_exists(capsys):
    for name in sorted(set(re.findall(r"`veravox ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))):
        with pytest.raises(SystemExit) as end:
            main([name, "--help"])
        assert end.value.code == 0, name


def test_every_link_of_the_readme_leads_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert os.path.exists(ROOT / target), target
