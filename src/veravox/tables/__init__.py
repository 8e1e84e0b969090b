"""The nouns that are tables: Protocol, Scores, Segments, and the Calibration that turns logits into scores."""

from veravox.tables.calibration import Calibration
from veravox.tables.files import TABLE_SUFFIXES, read_table, readable, table_text, write_table
from veravox.tables.labels import BONA_FIDE, LABEL_ALIASES, SPOOF, standard_label
from veravox.tables.protocol import (
    PROTOCOL_COLUMNS,
    Protocol,
    TrialList,
    protocol_from_paths,
    read_protocol,
    read_shard,
)
from veravox.tables.scores import (
    EXPERT_PREFIX,
    FAILURE_SCHEMA,
    GATE_PREFIX,
    JSON_SCHEMA,
    SCORE_FIELDS,
    WINDOW_SCHEMA,
    WRITTEN_ID,
    Scores,
    channels_text,
    nested,
)
from veravox.tables.segments import Segments

__all__ = [
    "BONA_FIDE",
    "EXPERT_PREFIX",
    "FAILURE_SCHEMA",
    "GATE_PREFIX",
    "JSON_SCHEMA",
    "LABEL_ALIASES",
    "PROTOCOL_COLUMNS",
    "SCORE_FIELDS",
    "SPOOF",
    "TABLE_SUFFIXES",
    "WINDOW_SCHEMA",
    "WRITTEN_ID",
    "Calibration",
    "Protocol",
    "Scores",
    "Segments",
    "TrialList",
    "channels_text",
    "nested",
    "protocol_from_paths",
    "read_protocol",
    "read_shard",
    "read_table",
    "readable",
    "standard_label",
    "table_text",
    "write_table",
]
