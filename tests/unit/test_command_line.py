"""How every command ends: its exit code, its last words, and output that any terminal can take."""

from __future__ import annotations

import errno
import io
import os
import re
import sys

import pytest
import typer

from veravox.apps import show
from veravox.apps.arguments import names_and_values
from veravox.apps.cli import build, main
from veravox.apps.commands import models, score
from veravox.errors import ConfigurationError
from veravox.scoring.verdict import Verdict
from veravox.tables import Protocol


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
    assert capsys.readouterr().err == "veravox: interrupted; no partial files were written\n"


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


def every_command(group=None, words=()):
    """The words of each command, with the command."""
    for name, command in (group or typer.main.get_command(build())).commands.items():
        if hasattr(command, "commands"):
            yield from every_command(command, (*words, name))
        else:
            yield (*words, name), command


def test_every_command_takes_quiet_and_spells_json_alike():
    for words, command in every_command():
        options = {option: parameter.name for parameter in command.params for option in parameter.opts}
        assert {"--quiet", "-q"} <= set(options), words
        assert options.get("--json", "as_json") == "as_json", words


def test_no_summary_in_the_list_of_commands_is_cut(capsys):
    for listed in ([], ["protocol"]):
        with pytest.raises(SystemExit):
            main([*listed, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        for words, command in every_command():
            if words[:-1] == tuple(listed):
                assert " ".join(command.help.partition("\n\n")[0].split()) in shown


def test_the_options_of_evaluate_stand_under_headings(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    shown = capsys.readouterr().out
    heads = [line.rstrip(":") for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert heads[:4] == ["Arguments", "Trials", "Metrics", "Costs of errors (DCF)"]
    assert {"Intervals", "Calibration", "Output"} <= set(heads)
    assert all(f"--{name}" in shown for name in ("where", "by", "pool-column", "asv-scores", "llr", "json"))


@pytest.mark.parametrize("text", ["name", "=value", "name=", ""])
def test_what_is_no_name_with_a_value_is_refused_with_the_form(text):
    with pytest.raises(ConfigurationError, match=re.escape(f"--root {text!r}: write it as NAME=FOLDER")):
        names_and_values([text], "--root", "NAME=FOLDER")


def test_names_with_values_are_read_once_and_refused_twice():
    assert names_and_values(["a=b=c", "d = e"], "--set") == {"a": "b=c", "d": " e"}
    with pytest.raises(ConfigurationError, match="'a' is given twice"):
        names_and_values(["a=1", "a=2"], "--set")


def test_where_labels_are_known_the_summary_counts_the_right_verdicts(capsys):
    labels = {"a": "spoof", "b": "bonafide", "c": "spoof", "d": None}
    rows = [{"utterance_id": name, "path": name, "label": label} for name, label in labels.items()]
    shown = score._Shown(Protocol.from_rows(rows), as_json=False, windows=False, quiet=False, table=False)
    for name, verdict in zip(labels, ("spoof", "spoof", "uncertain", "spoof"), strict=True):
        shown.add(Verdict(name, name, -1.0, verdict))
    shown.finish(None)
    assert capsys.readouterr().err.endswith("verdicts on 2 of 3 labelled files, 1 of them right\n")
