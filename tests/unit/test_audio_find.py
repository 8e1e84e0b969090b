"""Paths become audio files: as given, in order, each once."""

from __future__ import annotations

import os

import pytest

from veravox.audio import find_audio
from veravox.errors import AudioError


@pytest.fixture
def tree(tmp_path):
    for name in (
        "b.WAV",
        "a.flac",
        "notes.txt",
        "._a.flac",
        ".hidden.wav",
        "deep/c.Mp3",
        ".git/d.wav",
        "empty/x.md",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(paths, root):
    return [os.path.relpath(path, root) for path in paths]


def test_a_folder_is_walked_in_order_without_hidden_and_foreign_files(tree):
    assert names(find_audio([tree]), tree) == ["a.flac", "b.WAV", "deep/c.Mp3"]


def test_files_stay_as_they_were_given(tree, monkeypatch):
    monkeypatch.chdir(tree)
    given = ["./notes.txt", "b.WAV", "deep/../a.flac", "absent.wav"]
    assert find_audio(given) == given


def test_a_file_named_twice_comes_once(tree):
    os.link(tree / "a.flac", tree / "copy.flac")
    (tree / "link.wav").symlink_to("b.WAV")
    found = find_audio([tree / "b.WAV", tree, f"{tree}/./a.flac", tree / "link.wav"])
    assert names(found, tree) == ["b.WAV", "a.flac", "copy.flac", "deep/c.Mp3"]


def test_patterns_are_expanded_and_names_with_brackets_are_not(tree):
    (tree / "take[1].wav").touch()
    assert names(find_audio([f"{tree}/*.flac"]), tree) == ["a.flac"]
    assert names(find_audio([f"{tree}/**/*.Mp3"]), tree) == ["deep/c.Mp3"]
    assert names(find_audio([f"{tree}/take[1].wav"]), tree) == ["take[1].wav"]
    assert names(find_audio([f"{tree}/d*"]), tree) == ["deep/c.Mp3"]
    with pytest.raises(AudioError, match=r"pattern .*\*\.xyz' matches no file"):
        find_audio([f"{tree}/*.xyz"])


def test_symbolic_link_loops_end(tree):
    (tree / "deep" / "up").symlink_to(tree)
    (tree / "deep" / "self").symlink_to("self")
    (tree / "again").symlink_to(tree / "deep")
    found = find_audio([tree])
    assert len(found) == len({os.path.realpath(path) for path in found}) == 3


def test_a_folder_without_audio_is_named(tree):
    with pytest.raises(AudioError, match=r"empty' holds no audio file"):
        find_audio([tree / "a.flac", tree / "empty"])


def test_a_folder_given_twice_is_no_error(tree):
    assert find_audio([tree, tree]) == find_audio([tree])


def test_names_that_are_no_text_survive(tree):
    odd = os.fsencode(tree) + b"/caf\xe9\n.wav"
    open(odd, "wb").close()
    assert os.fsdecode(odd) in find_audio([tree])


def test_a_folder_that_cannot_be_listed_is_not_skipped(tree, monkeypatch):
    real = os.scandir

    def refuse(path):  # as the system does, also where the tests run as root
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(AudioError, match=r"deep' cannot be listed: Permission denied"):
        find_audio([tree])
