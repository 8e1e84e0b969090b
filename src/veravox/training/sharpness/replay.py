"""A second forward pass like the first: the same random numbers, the same choices, no second set of statistics."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode

from veravox.training.random_state import RandomState

_TOP_K = (torch.topk, Tensor.topk)
_INDICES = (torch.argmax, Tensor.argmax, torch.argmin, Tensor.argmin)
_DRAWS = (torch.multinomial, Tensor.multinomial)
_GUMBEL = nn.functional.gumbel_softmax


class ChoiceReplay(TorchFunctionMode):
    """Notes what top-k, argmax, argmin, multinomial and hard Gumbel samples chose; later they choose the same.

    Top-k still gives the values that the chosen places now have, a hard sample the gradient of the soft one. From
    the first call that is not like its note (another function or shape) on, choices are free.
    """

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[tuple[Any, torch.Size, Tensor]] = []
        self.position: int | None = None

    def replay(self) -> ChoiceReplay:
        """Give the noted choices from now on."""
        self.position = 0
        return self

    def __torch_function__(
        self, function: Any, types: Any, arguments: Sequence[Any] = (), options: Mapping[str, Any] | None = None
    ) -> Any:
        options = options or {}
        result = function(*arguments, **options)
        if function is _GUMBEL and options.get("hard", arguments[2] if len(arguments) > 2 else False):
            return self._hard_sample(result, options.get("dim", arguments[4] if len(arguments) > 4 else -1))
        if function not in _TOP_K + _INDICES + _DRAWS:
            return result
        seen = arguments[0] if arguments else options["input"]
        choice = result.indices if function in _TOP_K else result
        noted = self._noted(function, seen.shape, choice.detach())
        if noted is None:
            return result
        if function not in _TOP_K:
            return noted
        dimension = options.get("dim", arguments[2] if len(arguments) > 2 else -1)
        return torch.return_types.topk((seen.gather(dimension, noted), noted))

    def _hard_sample(self, result: Tensor, dimension: int) -> Tensor:
        """The sample whose places are those noted; the gradient is that of the soft sample behind it."""
        choice = result.detach().argmax(dimension, keepdim=True)
        noted = self._noted(_GUMBEL, result.shape, choice)
        if noted is None:
            return result
        zeros = torch.zeros_like(result)
        return result + zeros.scatter(dimension, noted, 1.0) - zeros.scatter(dimension, choice, 1.0)

    def _noted(self, function: Any, shape: torch.Size, choice: Tensor) -> Tensor | None:
        """What was chosen at this place of the first pass; None while noting, and where the passes differ."""
        if self.position is None:
            self.notes.append((function, shape, choice))
            return None
        noted = self.notes[self.position] if self.position < len(self.notes) else None
        if noted is None or noted[:2] != (function, shape) or noted[2].shape != choice.shape:
            self.position = len(self.notes)
            return None
        self.position += 1
        return noted[2]


def _generator_state(generator: Any) -> tuple[Callable[[], Any], Callable[[Any], None]] | None:
    """How to read and set the state of a generator that a module owns."""
    if isinstance(generator, torch.Generator):
        return generator.get_state, lambda state: _ignored(generator.set_state(state))
    if isinstance(generator, np.random.Generator):
        bits = generator.bit_generator
        return (lambda: bits.state), (lambda state: setattr(bits, "state", state))
    if isinstance(generator, random.Random):
        return generator.getstate, generator.setstate
    return None


def _ignored(result: object) -> None:
    """Drop what a setter gives back."""


class _ModuleState:
    """What running a module in training changes: its own buffers and generators."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        transient = module._non_persistent_buffers_set
        names = [name for name in module._buffers if name not in transient] if module.training else []
        self.buffers = {name: module._buffers[name] for name in names if module._buffers[name] is not None}
        self.access = [access for item in vars(module).values() if (access := _generator_state(item))]
        self.take()

    def take(self) -> None:
        """Note how the module stands."""
        self.values = {}
        for name in self.buffers:
            now = self.module._buffers[name]
            self.values[name] = None if now is None else now.detach().clone()
        self.versions = {name: _version(self.module._buffers[name]) for name in self.buffers}
        self.states = [read() for read, _ in self.access]

    def restore(self) -> None:
        """Put the module back as noted."""
        for name, value in self.values.items():
            _put(self.module, name, value)
        self.restore_generators()

    def changed(self) -> list[tuple[nn.Module, str, Tensor | None]]:
        """Copies of the buffers that were written since they were noted."""
        # Norms write their statistics past torch's own count of versions.
        norm = isinstance(self.module, nn.modules.batchnorm._NormBase)
        buffers = ((name, self.module._buffers[name]) for name in self.buffers)
        return [
            (self.module, name, None if now is None else now.detach().clone())
            for name, now in buffers
            if norm or _version(now) != self.versions[name]
        ]

    def restore_generators(self) -> None:
        for (_, write), state in zip(self.access, self.states, strict=True):
            write(state)

    @property
    def empty(self) -> bool:
        return not self.values and not self.access


def _version(buffer: Tensor | None) -> tuple[int, int]:
    """Changes whenever a buffer is written or replaced."""
    return (0, 0) if buffer is None else (id(buffer), buffer._version)


def _put(module: nn.Module, name: str, value: Tensor | None) -> None:
    now = module._buffers[name]
    if now is not None and value is not None and now.shape == value.shape:
        with torch.no_grad():
            now.copy_(value)
    else:
        module._buffers[name] = value


class Replay:
    """Runs a first pass and notes it, then a second one with its random numbers and its choices.

    Statistics that modules gather while they run (batch norm) are those of the first pass afterwards; generators
    stand where it left them.

    Args:
        model: whose modules to watch; None watches every module that is called meanwhile.
        devices: whose generators are replayed.
        keep_choices: whether the second pass chooses as the first did.
    """

    def __init__(self, model: nn.Module | None, devices: Iterable[torch.device], keep_choices: bool) -> None:
        self.model, self.devices = model, list(devices)
        self.choices = ChoiceReplay() if keep_choices else None
        self.before = RandomState(self.devices)
        self.after: RandomState | None = None
        self.starts: dict[int, _ModuleState] = {}
        self.ends: list[_ModuleState] = []
        for module in model.modules() if model is not None else ():
            self._see(module)

    def _see(self, module: nn.Module, arguments: Any = None) -> None:
        if id(module) not in self.starts:
            self.starts[id(module)] = _ModuleState(module)

    @contextmanager
    def only(self) -> Iterator[None]:
        """A pass with none after it runs in here: enough is noted for `undo`."""
        with self._seeing():
            yield

    @contextmanager
    def _seeing(self) -> Iterator[None]:
        """Meanwhile the modules that are called are found, if nobody named the model."""
        hook = register_module_forward_pre_hook(self._see) if self.model is None else None
        try:
            yield
        finally:
            if hook is not None:
                hook.remove()
        self.starts = {key: state for key, state in self.starts.items() if not state.empty}

    @contextmanager
    def first(self) -> Iterator[None]:
        """The first pass runs in here."""
        with self._seeing(), self.choices or nullcontext():
            yield
        self.ends = [_ModuleState(state.module) for state in self.starts.values()]
        self.after = RandomState(self.devices)

    @contextmanager
    def statistics_of_forward(self) -> Iterator[None]:
        """A backward pass runs in here: what gradient checkpointing runs again gathers no second statistics."""
        in_second_pass = self.after is not None  # its statistics are dropped anyway
        gathered = (
            [] if in_second_pass else [buffer for state in self.starts.values() for buffer in state.changed()]
        )
        yield
        for module, name, value in gathered:
            _put(module, name, value)

    @contextmanager
    def second(self, same_batch: bool = True, same_noise: bool = True) -> Iterator[None]:
        """The second pass runs in here.

        Args:
            same_batch: whether the batch is that of the first pass; on another one the pass makes its own choices.
            same_noise: whether the pass draws the random numbers of the first again; if not, it draws on.
        """
        assert self.after is not None, "the first pass comes first"
        if same_noise:
            self.before.restore()
            for state in self.starts.values():
                state.restore_generators()
        try:
            with self.choices.replay() if self.choices and same_batch else nullcontext():
                yield
        finally:
            drawn = None if same_noise else RandomState(self.devices)
            for state in self.ends:
                state.restore()
            (drawn or self.after).restore()

    def undo(self) -> None:
        """Put statistics and generators back to before the first pass."""
        for state in self.starts.values():
            state.restore()
        self.before.restore()
