"""The two labels, and their spellings in the wild."""

from __future__ import annotations

import polars as pl

from veravox.errors import ProtocolError, first_few, suggest

BONA_FIDE, SPOOF = "bonafide", "spoof"

LABEL_ALIASES: dict[str, str] = {
    **dict.fromkeys(
        ("bonafide", "bona-fide", "bona fide", "bona_fide", "genuine", "real", "human", "target"), BONA_FIDE
    ),
    **dict.fromkeys(("spoof", "spoofed", "fake", "deepfake", "synthetic"), SPOOF),
}
"""The one table of label spellings found in the wild; anything else is an error."""


def standard_label(value: str) -> str:
    """`bonafide` or `spoof` for any known spelling.

    Raises:
        ProtocolError: for an unknown one.
    """
    label = LABEL_ALIASES.get(value.strip().lower())
    if label is None:
        raise ProtocolError(
            f"unknown label {value!r}; use 'bonafide' or 'spoof' ({suggest(value, LABEL_ALIASES)})"
        )
    return label


def standard_labels(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """The frame with its column `label`, if there is one, in the standard spelling.

    Raises:
        ProtocolError: for an unknown label.
    """
    if "label" not in frame.columns:
        return frame
    text = frame["label"].cast(pl.String).str.strip_chars().replace("", None)
    lowered = text.str.to_lowercase()
    labels = lowered.replace_strict(LABEL_ALIASES, default=None, return_dtype=pl.String)
    unknown = text.filter(text.is_not_null() & labels.is_null()).unique(maintain_order=True)
    if len(unknown):
        raise ProtocolError(
            f"{name}: unknown labels {first_few(unknown)}; use 'bonafide' or 'spoof', or leave the cell empty"
        )
    return frame.with_columns(labels.alias("label"))
