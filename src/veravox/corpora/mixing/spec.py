"""What a mix is, as written in YAML; the classes' signatures are the only schema."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from veravox.corpora import CORPORA
from veravox.errors import ConfigurationError, first_few, suggest
from veravox.registry import Spec, check_options

NAMED = Path(__file__).parent / "named"
ROLES = ("train", "dev", "eval")
FOLDED = ("attack_id", "speaker_id", "language", "source_id", "domain", "codec")


@dataclass(frozen=True)
class Divide:
    """How a source without splits (or with splits that are not wanted) is divided.

    Args:
        train: share of its trials.
        dev: the same.
        eval: the same; the three sum to 1.
        by: a column whose values stay whole, like `speaker_id`.
    """

    train: float = 0.8
    dev: float = 0.1
    eval: float = 0.1
    by: str | None = None


@dataclass(frozen=True)
class Source:
    """Where trials come from: a corpus and its folder, or a protocol that was made before.

    Args:
        corpus: name of a corpus, or `auto`.
        root: its folder; may be given later.
        protocol: a .csv or .parquet, instead of a corpus.
        split: only this split of it.
        options: of the corpus. A value `$NAME` stands for a folder that is given later, or for nothing.
        divide: new splits for its trials.
        only: column to the values that are kept.
        optional: whether a mix may be made without it.
    """

    corpus: str | None = None
    root: str | None = None
    protocol: str | None = None
    split: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    divide: Divide | None = None
    only: dict[str, list[str]] = field(default_factory=dict)
    optional: bool = False


@dataclass(frozen=True)
class Part:
    """One set of a mix, which becomes one protocol.

    Args:
        sources: whose trials it takes; all if empty.
        role: `train`, `dev` or `eval`: which splits of the sources it takes. By default the set's name, or `eval`.
        splits: the splits it takes, where these are not its role.
        balance: columns over whose values trials are drawn evenly, outermost first (`label`, `attack_id`, ...).
        trials: how many in all.
        trials_per_source: how many of each source, one number for all or one for each.
        only: column to the values that are kept.
        without: column to the values that are left out.
    """

    sources: list[str] = field(default_factory=list)
    role: str | None = None
    splits: list[str] = field(default_factory=list)
    balance: list[str] = field(default_factory=list)
    trials: int | None = None
    trials_per_source: int | dict[str, int] | None = None
    only: dict[str, list[str]] = field(default_factory=dict)
    without: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Folds:
    """Leave one out: each fold trains without some values of a column, and is tested on them.

    Args:
        by: `attack_id` (the generator), `speaker_id`, `language`, `source_id`, `domain` or `codec`.
        groups: how many folds; one for every value if None.
    """

    by: str = "attack_id"
    groups: int | None = None


@dataclass(frozen=True)
class Mix:
    """Training and test sets out of several sources.

    Args:
        sources: name to source; the name becomes the trials' `domain` and begins their ids.
        sets: name to set.
        seed: of every draw.
        hold_out: column to values that neither train nor dev see.
        folds: leave-one-out folds of the sets.
        about: what it is for, in words.
        name: of the mix.
    """

    sources: dict[str, Source]
    sets: dict[str, Part]
    seed: int = 0
    hold_out: dict[str, list[str]] = field(default_factory=dict)
    folds: Folds | None = None
    about: str = ""
    name: str = "mix"

    def __post_init__(self) -> None:
        if not self.sources or not self.sets:
            raise ConfigurationError(f"mix {self.name!r} needs sources and sets")
        for name, part in self.sets.items():
            for taken in part.sources:
                if taken not in self.sources:
                    nearest = suggest(taken, self.sources)
                    raise ConfigurationError(f"set {name!r} takes from {taken!r}, which is no source; {nearest}")
            if part.role is not None and part.role not in ROLES:
                raise ConfigurationError(f"set {name!r}: the role must be train, dev or eval, not {part.role!r}")
            self._check_counts(name, part)
        for name, source in self.sources.items():
            if (source.corpus is None) == (source.protocol is None):
                raise ConfigurationError(f"source {name!r} needs either a corpus or a protocol")
            if source.corpus not in (None, "auto"):
                options = {key: value for key, value in source.options.items() if not _later(value)}
                CORPORA.check(Spec(str(source.corpus), options), ("root", "split"))
        if self.folds is not None and self.folds.by not in FOLDED:
            raise ConfigurationError(f"folds by {self.folds.by!r}: {suggest(self.folds.by, FOLDED)}")

    def _check_counts(self, name: str, part: Part) -> None:
        each = part.trials_per_source
        for source in each if isinstance(each, dict) else ():
            if source not in self.sources:
                nearest = suggest(source, self.sources)
                raise ConfigurationError(f"set {name!r}, trials_per_source: {source!r} is no source; {nearest}")
        counts = [part.trials, *(each.values() if isinstance(each, dict) else [each])]
        if any(count is not None and count < 1 for count in counts):
            raise ConfigurationError(f"set {name!r}: trials and trials_per_source must be at least 1")

    def role(self, name: str) -> str:
        """What a set is for: train, dev or eval."""
        return self.sets[name].role or (name if name in ROLES else "eval")

    def roots(self) -> list[str]:
        """Names of the folders that must or may be given."""
        needed = [name for name, source in self.sources.items() if source.corpus and not source.root]
        later = [str(v)[1:] for source in self.sources.values() for v in source.options.values() if _later(v)]
        return list(dict.fromkeys(needed + later))


def _later(value: object) -> bool:
    return isinstance(value, str) and value.startswith("$")


def mix_from_dict(data: Any, name: str = "mix") -> Mix:
    """A mix from plain data, as read from YAML.

    Raises:
        ConfigurationError: for an unknown, missing or mistyped field, with the nearest word.
    """
    if not isinstance(data, Mapping):
        raise ConfigurationError(f"mix {name!r} must be a mapping with sources and sets")
    given = dict(data)
    given.setdefault("name", name)
    for key, kind in (("sources", Source), ("sets", Part)):
        entries = given.get(key)
        if not isinstance(entries, Mapping):
            raise ConfigurationError(f"mix {name!r}: {key!r} must be a mapping of names")
        given[key] = {str(entry): _object(kind, value, f"{key} {entry!r}") for entry, value in entries.items()}
    if given.get("folds") is not None:
        given["folds"] = _object(Folds, given["folds"], "folds")
    if "hold_out" in given:
        given["hold_out"] = _texts(given["hold_out"], "hold_out")
    known = {item.name for item in fields(Mix)}
    for key in given:
        if key not in known:
            raise ConfigurationError(f"mix {name!r} has no field {key!r}; {suggest(key, known)}")
    check_options(f"mix {name!r}", Mix, given)
    return Mix(**given)


def _object(kind: type, value: Any, owner: str) -> Any:
    if value is None:
        value = {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{owner} must be a mapping, not {value!r}")
    options = dict(value)
    if isinstance(options.get("divide"), Mapping):
        options["divide"] = _object(Divide, options["divide"], f"{owner}, divide")
    for key in ("only", "without"):
        if key in options:
            options[key] = _texts(options[key], f"{owner}, {key}")
    check_options(owner, kind, options)
    return kind(**options)


def _texts(value: Any, owner: str) -> dict[str, list[str]]:
    """Column to a list of values; a single value may stand alone, and a number is its text."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{owner} must map columns to values, not {value!r}")
    listed = {str(key): item if isinstance(item, list) else [item] for key, item in value.items()}
    return {key: [str(item) for item in items] for key, items in listed.items()}


def named_mixes() -> dict[str, Mix]:
    """The data sets of the papers, by name."""
    return {path.stem: _load(path) for path in sorted(NAMED.glob("*.yaml"))}


def read_mix(source: str | os.PathLike[str]) -> Mix:
    """A mix by its name, or from a YAML file.

    Raises:
        ConfigurationError: if there is none, or it is not as it must be.
    """
    path = Path(source)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return _load(path)
    named = NAMED / f"{source}.yaml"
    if not named.exists():
        names = [item.stem for item in NAMED.glob("*.yaml")]
        raise ConfigurationError(f"no mix {str(source)!r}; {suggest(str(source), names)}, or name a .yaml file")
    return _load(named)


def _load(path: Path) -> Mix:
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    return mix_from_dict(data, path.stem)


def missing_roots(mix: Mix, roots: Mapping[str, str]) -> list[str]:
    """Sources whose folder is not known.

    Raises:
        ConfigurationError: if a given name is none of the mix.
    """
    known = {*mix.sources, *mix.roots()}
    for name in roots:
        if name not in known:
            raise ConfigurationError(f"mix {mix.name!r} has no source {name!r}; {suggest(name, known)}")
    return [
        name for name, source in mix.sources.items() if source.corpus and not source.root and name not in roots
    ]


def need_roots(mix: Mix, missing: list[str]) -> None:
    """Raise if folders are missing that the mix cannot do without."""
    needed = [name for name in missing if not mix.sources[name].optional]
    if needed:
        raise ConfigurationError(
            f"mix {mix.name!r} needs the folders of {first_few(needed, 12)}; give each as --root NAME=FOLDER "
            "(or leave them out with --partial)"
        )
