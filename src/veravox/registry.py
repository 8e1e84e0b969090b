"""Names to classes. A registry finds the files of its package by itself and checks options before use."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from veravox.errors import ConfigurationError, suggest

T = TypeVar("T")


@dataclass(frozen=True)
class Spec:
    """A registered name and its options, never a Python path.

    Written as `name` alone, or as `{name: lcnn, dropout: 0.3}`.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, value: Any) -> Spec:
        """Read a spec from a string, a mapping with the key `name`, or a spec.

        Raises:
            ConfigurationError: if the value has another form.
        """
        if isinstance(value, Spec):
            return value
        if isinstance(value, str):
            return cls(value)
        if isinstance(value, Mapping) and isinstance(value.get("name"), str):
            return cls(value["name"], {key: item for key, item in value.items() if key != "name"})
        raise ConfigurationError(f"expected a name, or a mapping with 'name' and options; got {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain data; `parse` reads it back."""
        return {"name": self.name, **self.options}


class Registry(Generic[T]):
    """Names to classes (or functions) of one kind, found in the files of one package.

    Args:
        kind: what an entry is called in messages, e.g. `gate`.
        package: dotted name of the package whose modules register entries.
        base: class that every entry is derived from; None where entries are functions.
        returns: where entries are functions, the name of the class that their annotation says they return.
        supplier: in messages, who gives the arguments that options may not set.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        base: type | None = None,
        returns: str | None = None,
        supplier: str = "the detector",
    ) -> None:
        self.kind = kind
        self.package = package
        self.base = base
        self.returns = returns
        self.supplier = supplier
        self._entries: dict[str, Callable[..., T]] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[Any], Any]:
        """Decorator: enter a class or function under `name`; a second entry of one name is our own mistake.

        Raises:
            ConfigurationError: if the entry is not of the registry's kind, naming what it lacks.
        """

        def enter(entry: Any) -> Any:
            problem = self._problem(entry)
            if problem:
                raise ConfigurationError(f"{self.kind} {name!r}: {problem}")
            present = self._entries.get(name)
            same = present is not None and (present.__module__, present.__qualname__) == (
                entry.__module__,
                entry.__qualname__,
            )
            assert present is None or same, f"{self.kind} {name!r} is registered twice"
            self._entries[name] = entry
            return entry

        return enter

    def _problem(self, entry: Any) -> str | None:
        """Why an entry is not of this registry's kind; None if it is."""
        called = getattr(entry, "__name__", repr(entry))
        if self.base is not None:
            if not inspect.isclass(entry) or not issubclass(entry, self.base):
                return f"{called} is not a {self.base.__name__}; write 'class {called}({self.base.__name__})'"
            lacking = sorted([*getattr(entry, "__abstractmethods__", ()), *_undefined(entry, self.base)])
            return f"{called} does not define {', '.join(lacking)}" if lacking else None
        if self.returns is None:
            return None
        if not inspect.isfunction(entry):
            return f"{called} is not a function; write one that returns a {self.returns}"
        annotation = entry.__annotations__.get("return")
        if getattr(annotation, "__name__", annotation) != self.returns:
            return f"{called} must return a {self.returns}; annotate it with '-> {self.returns}'"
        return None

    def _load(self) -> None:
        if self._loaded:
            return
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self.package}.{module.name}")
        self._loaded = True

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._load()
        return sorted(self._entries)

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __getitem__(self, name: str) -> Callable[..., T]:
        self._load()
        try:
            return self._entries[name]
        except KeyError:
            raise ConfigurationError(f"unknown {self.kind} {name!r}; {suggest(name, self._entries)}") from None

    def check(self, spec: Spec, supplied: tuple[str, ...] = ()) -> None:
        """Check a spec's name, option names and option types against the constructor's signature.

        Args:
            spec: what a user wrote.
            supplied: arguments that the caller gives and a spec may not set.
        Raises:
            ConfigurationError: naming the entry, the option and the nearest word.
        """
        check_options(f"{self.kind} {spec.name!r}", self[spec.name], self._options(spec), supplied, self.supplier)

    def build(self, spec: Spec, **supplied: Any) -> T:
        """Make the named object from its options and what the caller supplies.

        Supplied arguments that the constructor does not take are left out.

        Raises:
            ConfigurationError: if the name or an option is wrong.
        """
        self.check(spec, tuple(supplied))
        entry = self[spec.name]
        taken = inspect.signature(entry).parameters
        given = {name: value for name, value in supplied.items() if name in taken}
        return entry(**given, **self._options(spec))

    def _options(self, spec: Spec) -> dict[str, Any]:
        """A spec's options under today's names: an entry's `renamed_options` maps those of earlier versions."""
        renamed: Mapping[str, str] = getattr(self[spec.name], "renamed_options", {})
        for old, new in renamed.items():
            if old in spec.options and new in spec.options:
                raise ConfigurationError(f"{self.kind} {spec.name!r}: {old!r} is now {new!r}; give one of them")
        return {renamed.get(name, name): value for name, value in spec.options.items()}


def _undefined(entry: type, base: type) -> list[str]:
    """Class attributes that the base declares without a value and the entry does not set."""
    declared = [name for name, hint in vars(base).get("__annotations__", {}).items() if "ClassVar" in str(hint)]
    return [name for name in declared if not hasattr(entry, name)]


def check_options(
    owner: str,
    entry: Callable[..., Any],
    options: Mapping[str, Any],
    supplied: tuple[str, ...] = (),
    supplier: str = "the detector",
) -> None:
    """Check named options against a callable's signature: names first, then types, then what is missing.

    Raises:
        ConfigurationError: naming `owner`, the option, and the nearest word.
    """
    parameters = inspect.signature(entry).parameters
    settable = {
        name: parameter
        for name, parameter in parameters.items()
        if name not in supplied and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    function = entry.__init__ if inspect.isclass(entry) else entry
    hints = typing.get_type_hints(function)
    for name, value in options.items():
        if name in supplied:
            raise ConfigurationError(f"{owner}: {name!r} is set by {supplier}; remove it")
        if name not in settable:
            raise ConfigurationError(f"{owner} has no option {name!r}; {suggest(name, settable)}")
        if name in hints and not accepts(hints[name], value):
            raise ConfigurationError(f"{owner}: {name!r} must be {describe(hints[name])}, not {value!r}")
    for name, parameter in settable.items():
        if parameter.default is parameter.empty and name not in options:
            raise ConfigurationError(f"{owner} needs the option {name!r}")


def accepts(hint: Any, value: Any) -> bool:
    """Whether a value read from YAML fits a type hint (ints serve as floats, lists as tuples)."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(accepts(option, value) for option in arguments)
    if origin is typing.Literal:
        return value in arguments
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin in (list, tuple) or (isinstance(origin, type) and issubclass(origin, typing.Sequence)):
        if isinstance(value, str) or not isinstance(value, list | tuple):
            return False
        if origin is tuple and arguments and arguments[-1] is not ...:
            return len(value) == len(arguments) and all(map(accepts, arguments, value))
        return not arguments or all(accepts(arguments[0], item) for item in value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, Mapping) and all(accepts(arguments[1], item) for item in value.values())
    if isinstance(hint, type):
        return isinstance(value, hint)
    return True


def describe(hint: Any) -> str:
    """A type hint in words for a message."""
    if typing.get_origin(hint) is typing.Literal:
        return "one of " + ", ".join(repr(choice) for choice in typing.get_args(hint))
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


__all__ = ["Registry", "Spec", "accepts", "check_options", "describe"]
