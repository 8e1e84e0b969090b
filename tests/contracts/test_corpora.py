"""What every corpus promises, tried on a miniature of it that is unpacked from its EXAMPLE."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import polars as pl
import pytest

from corpora_examples import unpack
from veravox import corpora
from veravox.corpora import CORPORA
from veravox.corpora.reading.corpus import read_corpus, recognise
from veravox.errors import CorpusError

NAMES = CORPORA.names()
FOLDER = Path(corpora.__file__).parent


def root_of(name: str, tmp_path: Path) -> Path:
    root = tmp_path / "data" / f"{name}_root"
    root.mkdir(parents=True)
    return root


def read(name: str, folder: Path, options: dict, split: str | None = None):
    return read_corpus(name, folder / CORPORA.facts(name).example.root, split, options)


def rows_of(reading) -> dict:
    return {row["utterance_id"]: row for row in reading.protocol}


def test_every_file_of_the_room_is_a_corpus_and_every_corpus_a_file():
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert files == set(NAMES)
    assert {sys.modules[CORPORA[name].__module__].__file__ for name in NAMES} == {
        str(FOLDER / f"{name}.py") for name in files
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_example_is_read_whole_with_every_audio_file_found(name, tmp_path):
    root = root_of(name, tmp_path)
    reading = read(name, root, unpack(name, root))
    example = CORPORA.facts(name).example
    rows = rows_of(reading)
    assert set(rows) == set(example.trials)
    for utterance_id, expected in example.trials.items():
        assert {key: rows[utterance_id].get(key) for key in expected} == dict(expected)
    assert all(os.path.isfile(path) for path in reading.protocol.audio_paths())
    assert reading.missing == []
    assert sorted(reading.extra) == sorted(example.extra)
    assert reading.protocol.frame["label"].null_count() == 0
    assert reading.protocol.frame["domain"].null_count() == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_layout_is_recognised_and_said_by_what(name, tmp_path):
    root = root_of(name, tmp_path)
    unpack(name, root)
    if not CORPORA.facts(name).layout.recognise(root / CORPORA.facts(name).example.root):
        with pytest.raises(CorpusError, match=r"name one of|name the one"):
            recognise(root)
        return
    found, reason = recognise(root / CORPORA.facts(name).example.root)
    assert found == name
    assert reason


@pytest.mark.parametrize("name", NAMES)
def test_a_root_one_level_too_high_or_too_low_is_answered_with_the_right_one(name, tmp_path):
    root = root_of(name, tmp_path)
    options = unpack(name, root)
    layout = CORPORA.facts(name).layout
    if not layout.recognise(root):
        pytest.skip(f"{name} has no layout of its own, so no folder is wrong for it")
    with pytest.raises(CorpusError) as caught:
        read_corpus(name, root.parent, options=options)
    assert "one level too high" in str(caught.value)
    assert str(root) in str(caught.value)
    first = sorted(path for path in root.iterdir() if path.is_dir())
    lower = next((path for path in first if not layout.recognise(path)), None)
    if lower is not None:
        with pytest.raises(CorpusError) as caught:
            read_corpus(name, lower, options=options)
        assert "one level too low" in str(caught.value)
        assert str(root) in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_upper_case_endings_and_files_of_macos_change_nothing(name, tmp_path):
    plain, odd = root_of(name, tmp_path / "plain"), root_of(name, tmp_path / "odd")
    options = unpack(name, plain)
    unpack(name, odd, lambda path: str(Path(path).with_suffix(Path(path).suffix.upper())))
    for folder in {path.parent for path in odd.rglob("*") if path.is_file()}:
        for file in list(folder.glob("*.*"))[:1]:
            (folder / f"._{file.name}").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    before = read(name, plain, options)
    after = read(name, odd, options)
    assert [row["utterance_id"] for row in before.protocol] == [row["utterance_id"] for row in after.protocol]
    assert after.missing == []


@pytest.mark.parametrize("name", NAMES)
def test_missing_audio_is_listed_or_leaves_the_folder_one_trial_shorter(name, tmp_path):
    root = root_of(name, tmp_path)
    options = unpack(name, root)
    whole = read(name, root, options)
    inside = [path for path in whole.protocol.frame["path"] if not path.startswith("/")]
    os.unlink(whole.protocol.audio_paths()[whole.protocol.frame["path"].to_list().index(inside[0])])
    less = read(name, root, options)
    by_key = len(less.protocol) == len(whole.protocol)
    assert [path.lower() for path in less.missing] == ([inside[0].lower()] if by_key else [])
    assert len(less.protocol) == len(whole.protocol) - (not by_key)
    assert len(less.without_missing().protocol) == len(whole.protocol) - 1


@pytest.mark.parametrize("name", NAMES)
def test_a_split_is_a_part_of_the_whole_and_an_unknown_one_is_refused(name, tmp_path):
    root = root_of(name, tmp_path)
    options = unpack(name, root)
    whole = read(name, root, options).protocol
    splits = whole.frame["split"].drop_nulls().unique().to_list() if "split" in whole.frame.columns else []
    for split in splits:
        part = read(name, root, options, split).protocol
        expected = whole.frame.filter(pl.col("split") == split)["utterance_id"].to_list()
        assert [i for i in part.utterance_ids if i in expected] == expected
    with pytest.raises(CorpusError, match="split"):
        read(name, root, options, "finals")
    if not splits:
        with pytest.raises(CorpusError, match="no published splits"):
            read(name, root, options, "train")


@pytest.mark.parametrize("name", NAMES)
def test_published_counts_name_columns_that_the_corpus_has(name, tmp_path):
    root = root_of(name, tmp_path)
    protocol = read(name, root, unpack(name, root)).protocol
    for part in CORPORA.facts(name).published:
        assert set(part.where) <= set(protocol.frame.columns)
        assert any((part.bonafide, part.spoof, part.trials))


@pytest.mark.parametrize("name", NAMES)
def test_the_parquet_form_reads_back_equal(name, tmp_path):
    root = root_of(name, tmp_path)
    protocol = read(name, root, unpack(name, root)).protocol
    protocol.write(root / "p.parquet")
    again = type(protocol).read(root / "p.parquet")
    assert again.frame.drop("path").equals(protocol.frame.drop("path"))
    assert all(os.path.isfile(path) for path in again.audio_paths())
