"""A slice of the fuzzer; the long run is `python tests/fuzz/decoding.py`."""

from __future__ import annotations

from fuzz.decoding import KINDS, fuzz, originals


def test_a_slice_of_mutated_files_shows_no_fault(tmp_path):
    kinds = originals(tmp_path)
    assert len(kinds) > 0.8 * len(KINDS)
    result = fuzz(150, seed=7, kinds=kinds)
    assert result["faults"] == {}
    assert sum(result["outcomes"].values()) == 150
    assert result["outcomes"]["refused"] > 30
