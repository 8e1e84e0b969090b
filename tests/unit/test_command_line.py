"""How every command ends: its exit code, its last words, and output that any terminal can take."""

from __future__ import annotations

import errno
import io
import os
import sys

import pytest

from veravox.apps import show
from veravox.apps.cli import main
from veravox.apps.commands import models


def ended(monkeypatch, error):
    """The exit code of a command that meets an error."""

    def command() -> None:
        raise error

    monkeypatch.setattr(models, "command", command)
    with pytest.raises(SystemExit) as end:
        main(["models"])
    return end.value.code


def test_an_interrupt_is_said_and_has_its_own_exit_code(monkeypatch, capsys):
    assert ended(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "veravox: interrupted; nothing half-written was left\n"


def test_a_reader_that_went_away_is_no_failed_input(monkeypatch):
    with open(os.devnull, "w") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        assert ended(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe")) == 141


def test_a_reader_that_went_away_is_noticed_after_the_last_line(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setattr(models, "command", lambda: print("a short result"))
    with open(writing, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        with pytest.raises(SystemExit) as end:
            main(["models"])
        assert end.value.code == 141


def test_what_the_locale_cannot_show_is_escaped(monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(models, "command", lambda: show.print_table(["figure"], [["0.1 – 0.2 ± é"]]))
    with pytest.raises(SystemExit) as end:
        main(["models"])
    assert end.value.code == 0
    terminal.seek(0)
    assert "0.1 \\u2013 0.2 ± é" in terminal.read()


def test_a_title_longer_than_its_table_stays_one_line(capsys):
    show.print_table(["a"], [["1"]], "one run each, so no standard deviation.")
    assert capsys.readouterr().out.splitlines()[0].rstrip() == "one run each, so no standard deviation."


def test_names_in_brackets_stay_in_a_tables_head_and_title(capsys):
    show.print_table(["run[sam]", "[/x]"], [["1", "2"]], "by [codec]")
    printed = capsys.readouterr().out
    assert "by [codec]" in printed
    assert printed.splitlines()[1].split() == ["run[sam]", "[/x]"]
