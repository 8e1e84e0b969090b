"""What every front end, expert, gate and router promises; a new file is tested by being there."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError, MissingDependencyError
from veravox.models import (
    EXPERTS,
    FRONT_ENDS,
    GATES,
    ROUTERS,
    Checkpoint,
    DetectorModel,
    DetectorSpec,
    Gate,
    read_checkpoint,
    write_checkpoint,
)
from veravox.registry import Registry, Spec

SAMPLES = 6400
WINDOW_S = SAMPLES / 16000
SEEDS = range(20)


@functools.cache
def folder() -> Path:
    """Where parts write what their examples need."""
    path = Path(tempfile.mkdtemp(prefix="veravox-contracts-"))
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def options_of(registry: Registry[Any], name: str) -> dict[str, Any]:
    """The options of a small one, as its class states them."""
    try:
        return registry[name].example_options(folder())
    except MissingDependencyError as error:
        pytest.skip(str(error))


def windows(count: int = 4, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(count, SAMPLES, generator=torch.Generator().manual_seed(seed))


def loudest_and_silence() -> Tensor:
    time_s = torch.arange(SAMPLES) / 16000
    square = torch.sign(torch.sin(2 * torch.pi * 100 * time_s))
    return torch.stack([torch.zeros(SAMPLES), torch.ones(SAMPLES), square, torch.full((SAMPLES,), -1e-30)])


def description(front_end: str, expert: str) -> dict[str, Any]:
    return {
        "front_ends": {"only": {"name": front_end, **options_of(FRONT_ENDS, front_end)}},
        "experts": {"only": {"front_end": "only", "name": expert, **options_of(EXPERTS, expert)}},
        "window_s": WINDOW_S,
    }


@functools.cache
def front_ends_for(expert: str) -> list[str]:
    """The front ends of the package that the expert takes; the others it refuses when built."""
    taken = []
    for front_end in ("log_mel", "waveform", "whisper_blocks"):
        try:
            DetectorModel(DetectorSpec.parse(description(front_end, expert)))
        except ConfigurationError:
            continue
        taken.append(front_end)
    assert taken, f"no front end suits expert {expert!r}"
    return taken


def detector_of(expert: str) -> DetectorModel:
    torch.manual_seed(1)
    detector = DetectorModel(DetectorSpec.parse(description(front_ends_for(expert)[0], expert)))
    for module in detector.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            module.running_mean.normal_(0, 0.1)  # as after training, so that folding them is tested
    return detector.eval()


def without_gradient(module: nn.Module) -> list[str]:
    return [
        name
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and (parameter.grad is None or not parameter.grad.abs().sum() > 0)
    ]


@pytest.mark.parametrize("name", FRONT_ENDS.names())
def test_a_front_end_gives_finite_features_of_one_shape_whoever_its_neighbours_are(name):
    front_end = FRONT_ENDS.build(Spec(name, options_of(FRONT_ENDS, name)), sample_rate_hz=16000).eval()
    with torch.inference_mode():
        features = front_end(windows())
        alone = front_end(windows()[2:3])
        extreme = front_end(loudest_and_silence())
    assert features.shape[0] == 4
    assert features.ndim in (2, 3)
    assert features.dtype == torch.float32
    assert features.isfinite().all()
    assert extreme.isfinite().all()
    assert extreme.shape == features.shape
    torch.testing.assert_close(features[2:3], alone, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("name", FRONT_ENDS.names())
def test_a_front_end_states_what_it_captures(name):
    assert len(FRONT_ENDS[name].captures.split()) >= 5
    assert not FRONT_ENDS[name].captures.endswith(".")


@pytest.mark.parametrize("name", EXPERTS.names())
def test_an_expert_states_its_inductive_bias(name):
    assert len(EXPERTS[name].inductive_bias.split()) >= 5
    assert not EXPERTS[name].inductive_bias.endswith(".")


@pytest.mark.parametrize("name", EXPERTS.names())
def test_an_expert_judges_each_window_by_itself_and_stays_finite(name):
    detector = detector_of(name)
    with torch.inference_mode():
        together, alone = detector(windows()), detector(windows()[1:2])
        extreme = detector(loudest_and_silence())
    output = together.expert_outputs["only"]
    assert output.logits.shape == (4,)
    assert output.embeddings.shape == (4, detector.mixture.experts["only"].embedding_size)
    assert output.logits.dtype == output.embeddings.dtype == torch.float32
    assert output.class_logits is None or output.class_logits.shape == (4, 2)
    if output.class_logits is not None:
        assert torch.equal(output.class_logits[:, 1] - output.class_logits[:, 0], output.logits)
    assert together.logits.unique().numel() == 4, "different windows, one score"
    torch.testing.assert_close(together.logits[1:2], alone.logits, atol=1e-5, rtol=0)
    assert extreme.logits.isfinite().all()


@pytest.mark.parametrize("name", EXPERTS.names())
def test_an_expert_refuses_features_when_built_or_judges_them(name):
    for front_end in front_ends_for(name):
        detector = DetectorModel(DetectorSpec.parse(description(front_end, name))).eval()
        with torch.inference_mode():
            assert detector(windows()).logits.isfinite().all(), front_end


@pytest.mark.parametrize("name", EXPERTS.names())
def test_gradient_reaches_every_parameter_of_an_expert(name):
    detector = detector_of(name).train()
    detector(windows()).logits.square().sum().backward()
    assert without_gradient(detector) == []


@pytest.mark.parametrize("name", EXPERTS.names())
def test_an_expert_scores_bit_equal_after_writing_and_reading(name, tmp_path):
    detector = detector_of(name)
    again = read_checkpoint(write_checkpoint(Checkpoint(detector), tmp_path)).model
    with torch.inference_mode():
        assert torch.equal(detector(windows()).logits, again(windows()).logits)


def mixture_of(gate: str, router: str = "soft", **options: Any) -> DetectorModel:
    torch.manual_seed(2)
    spec = {
        "front_ends": {"mel": {"name": "log_mel", "bands": 24}, "spectrogram": "log_spectrogram"},
        "experts": {
            "first": {"front_end": "mel", "name": "resnet", "widths": (4, 8), "depths": (1, 1)},
            "second": {"front_end": "mel", "name": "resnet", "widths": (4, 12), "depths": (1, 1)},
            "third": {"front_end": "spectrogram", "name": "resnet", "widths": (4, 8), "depths": (1, 1)},
        },
        "embedding_size": 8,
        "gate": gate,
        "router": {"name": router, **options},
        "window_s": WINDOW_S,
    }
    return DetectorModel(DetectorSpec.parse(spec)).eval()


@pytest.mark.parametrize("router", ROUTERS.names())
@pytest.mark.parametrize("gate", GATES.names())
def test_a_mixture_weighs_its_experts(gate, router):
    detector = mixture_of(gate, router)
    for batch in (windows(), loudest_and_silence()):
        with torch.inference_mode():
            output = detector(batch)
        assert output.gate_logits.shape == output.gate_weights.shape == output.expert_logits.shape == (4, 3)
        torch.testing.assert_close(output.gate_weights.sum(dim=1), torch.ones(4))
        assert (output.gate_weights >= 0).all()
        parts = (output.gate_weights * output.expert_logits).where(output.gate_weights > 0, 0.0)
        torch.testing.assert_close(output.logits, parts.sum(dim=1))
        assert output.logits.isfinite().all()


@pytest.mark.parametrize("router", ROUTERS.names())
@pytest.mark.parametrize("gate", GATES.names())
def test_a_mixture_judges_each_window_by_itself(gate, router):
    detector = mixture_of(gate, router)
    with torch.inference_mode():
        together, alone = detector(windows()), detector(windows()[3:])
    torch.testing.assert_close(together.logits[3:], alone.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.gate_weights[3:], alone.gate_weights, atol=1e-5, rtol=0)


def gate_alone(name: str, seed: int) -> tuple[Gate, Tensor]:
    """A gate for three experts, and a batch of what it sees."""
    torch.manual_seed(seed)
    sizes = {"experts": 3, "embedding_size": 8, "window_samples": 400, "segments": 1, "feature_shape": (6, 20)}
    gate = GATES.build(Spec(name, options_of(GATES, name)), **sizes)
    shape = {"embeddings": (3, 8), "waveform": (400,), "features": (6, 20)}[gate.sees]
    return gate, torch.randn(16, *shape)


@pytest.mark.parametrize("name", GATES.names())
def test_a_gate_with_weights_answers_to_all_that_it_sees(name):
    for seed in SEEDS:
        gate, seen = gate_alone(name, seed)
        gate.eval()
        if not list(gate.parameters()):
            return
        if gate.sees != "embeddings":
            assert (gate(seen) - gate(torch.randn_like(seen))).abs().max() > 1e-4
            continue
        for expert in range(3):
            other = seen.clone()
            other[:, expert] = torch.randn_like(other[:, expert])
            assert (gate(seen) - gate(other)).abs().max() > 1e-4, f"it does not answer to expert {expert}"


@pytest.mark.parametrize("name", GATES.names())
def test_every_weight_of_a_gate_can_learn(name):
    # Any one batch may leave a weight without gradient, by a dead activation or an offset that softmax ignores;
    # so the logits are followed, not the weights that a router makes of them, and over several batches.
    idle: set[str] | None = None
    for seed in SEEDS:
        gate, seen = gate_alone(name, seed)
        logits = gate.train()(seen)
        if not list(gate.parameters()):
            assert not logits.requires_grad
            return
        (logits * torch.randn_like(logits)).sum().backward()
        idle = set(without_gradient(gate)) if idle is None else idle & set(without_gradient(gate))
    assert idle == set()


@pytest.mark.parametrize("name", ROUTERS.names())
def test_a_router_teaches_the_gate_wherever_more_than_one_expert_decides(name):
    router = ROUTERS.build(Spec(name, options_of(ROUTERS, name)), experts=3).train()
    for seed in SEEDS:
        generator = torch.Generator().manual_seed(seed)
        logits = torch.randn(16, 3, generator=generator).requires_grad_()
        weights = router(logits)
        (weights * torch.randn(16, 3, generator=generator)).sum().backward()
        several = (weights > 0).sum(dim=1) > 1
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        assert (logits.grad[several].abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("gate", GATES.names())
def test_every_expert_and_its_projection_gets_gradient_under_a_soft_router(gate):
    detector = mixture_of(gate).train()
    detector(windows(8)).logits.square().sum().backward()
    assert without_gradient(detector.mixture.experts) == []
    assert without_gradient(detector.mixture.projections) == []


@pytest.mark.parametrize("router", ROUTERS.names())
@pytest.mark.parametrize("gate", GATES.names())
def test_a_mixture_scores_bit_equal_after_writing_and_reading(gate, router, tmp_path):
    detector = mixture_of(gate, router)
    again = read_checkpoint(write_checkpoint(Checkpoint(detector), tmp_path)).model
    with torch.inference_mode():
        ours, theirs = detector(windows()), again(windows())
    assert torch.equal(ours.logits, theirs.logits)
    assert torch.equal(ours.gate_weights, theirs.gate_weights)


@pytest.mark.parametrize("name", ROUTERS.names())
def test_a_router_gives_shares_and_follows_the_gate(name):
    router = ROUTERS.build(Spec(name), experts=3).eval()
    logits = torch.tensor([[3.0, -1.0, 0.5], [1.0, 1.0, 1.0], [-80.0, 80.0, 0.0]])
    weights = router(logits)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert (weights >= 0).all()
    assert weights.argmax(dim=1)[[0, 2]].tolist() == [0, 1]
