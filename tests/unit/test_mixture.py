"""Always true of mixtures, whatever their weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from tiny import tiny_spec
from veravox.errors import ConfigurationError
from veravox.models import GATES, ROUTERS, DetectorModel, DetectorSpec
from veravox.models.mixture import frozen_batch_norm
from veravox.models.routers import load_imbalance
from veravox.registry import Spec

SAMPLES = 8000
NAMES = ("first", "second", "third")


def detector_of(gate: Any, router: Any = "soft", order: tuple[int, ...] = (0, 1, 2), **more: Any) -> DetectorModel:
    torch.manual_seed(3)
    resnet = {"name": "resnet", "widths": (8, 8), "depths": (1, 1)}
    front_ends = ("mel", "mel", "spectrogram")
    spec = {
        "front_ends": {"mel": {"name": "log_mel", "bands": 20}, "spectrogram": "log_spectrogram"},
        "experts": {NAMES[i]: {"front_end": front_ends[i], **resnet} for i in order},
        "gate": gate,
        "router": router,
        "window_s": SAMPLES / 16000,
        **more,
    }
    detector = DetectorModel(DetectorSpec.parse(spec)).eval()
    for parameter in detector.mixture.gate.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return detector


@pytest.fixture
def windows() -> Tensor:
    return 0.1 * torch.randn(6, SAMPLES, generator=torch.Generator().manual_seed(5))


def count_runs(detector: DetectorModel) -> dict[str, list[int]]:
    """How many windows each front end and expert is given, call by call."""
    runs: dict[str, list[int]] = {}
    for name, module in [*detector.front_ends.items(), *detector.mixture.experts.items()]:
        runs[name] = []
        module.register_forward_hook(lambda _, inputs, __, name=name: runs[name].append(len(inputs[0])))
    return runs


def test_the_uniform_gate_gives_the_mean_of_the_experts(windows):
    output = detector_of("uniform")(windows)
    torch.testing.assert_close(output.logits, output.expert_logits.mean(dim=1))


def test_mixed_probabilities_are_those_of_the_experts_weighed(windows):
    detector = detector_of("concat", mixing="probabilities")
    output = detector(windows)
    difference = 2 * output.expert_logits.sigmoid() - 1  # bona fide minus spoof
    torch.testing.assert_close(output.logits, (output.gate_weights * difference).sum(dim=1))
    weights, logits = torch.tensor([[0.5, 0.3, 0.1, 0.1]]), torch.tensor([[8.0, -1.0, -2.0, -1.0]])
    mixed = detector.mixture.mixed(weights, logits)
    assert torch.logit((mixed + 1) / 2).item() == pytest.approx(0.49, abs=5e-3)
    assert detector_of("concat").mixture.mixed(weights, logits).item() == pytest.approx(3.4)


def test_a_sparse_router_mixes_probabilities_of_the_chosen_alone(windows):
    detector = detector_of("features_conv", router="top_k", mixing="probabilities")
    output = detector(windows)
    chosen = torch.tanh(output.expert_logits / 2).where(output.gate_weights > 0, 0.0)
    torch.testing.assert_close(output.logits, (output.gate_weights * chosen).sum(dim=1))


def test_the_uniform_gate_adds_no_weights_even_where_embeddings_differ_in_size():
    detector = detector_of("uniform")
    names = [name for name, _ in detector.mixture.named_parameters() if not name.startswith("experts.")]
    assert names == []


@pytest.mark.parametrize("picked", [0, 1, 2])
def test_a_gate_that_picks_one_expert_is_that_expert(picked, windows):
    detector = detector_of("input_linear")
    with torch.no_grad():
        detector.mixture.gate.head.weight.zero_()
        detector.mixture.gate.head.bias.copy_(200.0 * torch.eye(3)[picked])
    output = detector(windows)
    alone = detector.mixture.experts[NAMES[picked]](
        detector.extract(windows)[detector.spec.experts[NAMES[picked]].front_end]
    )
    assert torch.equal(output.logits, alone.logits)
    assert torch.equal(output.gate_weights, torch.eye(3)[picked].expand(6, 3))


def permuted(gate: str, ours: Tensor, name: str, order: list[int]) -> Tensor:
    """A parameter of the gate with its per-expert parts in another order."""
    if gate == "input_linear" or name in ("head.4.weight", "head.4.bias", "projection_weight", "projection_bias"):
        return ours[order]
    if gate == "features_conv" and name.startswith("head.1."):
        return ours[order]
    if gate == "attention" and name == "expert_embedding":
        return ours[order]
    if gate == "embedding_fc" and name == "head.0.weight":
        parts = ours.unflatten(1, (4, -1))  # three experts' parts, then their product
        return parts[:, [*order, 3]].flatten(1)
    if gate == "concat" and name in ("head.0.weight", "head.0.bias", "head.1.weight"):
        return ours.unflatten(-1, (3, -1))[..., order, :].flatten(-2)
    return ours


@pytest.mark.parametrize("gate", GATES.names())
def test_the_order_of_experts_changes_no_score(gate, windows):
    order = [2, 0, 1]
    ours, theirs = detector_of(gate), detector_of(gate, order=tuple(order))
    for name in NAMES:
        theirs.mixture.experts[name].load_state_dict(ours.mixture.experts[name].state_dict())
    state = ours.mixture.gate.state_dict()
    theirs.mixture.gate.load_state_dict(
        {name: permuted(gate, tensor, name, order) for name, tensor in state.items()}
    )
    with torch.inference_mode():
        before, after = ours(windows), theirs(windows)
    if gate not in ("uniform", "fixed"):
        assert before.gate_weights.std() > 1e-3
    torch.testing.assert_close(after.gate_weights, before.gate_weights[:, order], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("gate", ["uniform", "attention", "features_conv"])
def test_each_front_end_and_expert_runs_once_a_batch(gate, windows):
    detector = detector_of(gate)
    runs = count_runs(detector)
    detector(windows)
    assert runs == {name: [6] for name in ("mel", "spectrogram", *NAMES)}


@pytest.mark.parametrize("k", [1, 2])
def test_experts_that_are_not_chosen_are_not_run_and_the_score_is_the_same(k, windows):
    detector = detector_of("input_linear", {"name": "top_k", "k": k})
    runs = count_runs(detector)
    with torch.inference_mode():
        sparse = detector(windows)
        chosen = sparse.gate_weights > 0
        assert (chosen.sum(dim=1) == k).all()
        assert {name: sum(runs[name]) for name in NAMES} == dict(
            zip(NAMES, chosen.sum(dim=0).tolist(), strict=True)
        )
        assert sum(runs["mel"]) == int(chosen[:, :2].any(dim=1).sum())
        assert all(len(calls) <= 1 for calls in runs.values())
        detector.runs_all = True
        dense = detector(windows)
    torch.testing.assert_close(sparse.logits, dense.logits, atol=1e-6, rtol=1e-5)
    assert torch.equal(sparse.gate_weights, dense.gate_weights)
    assert sparse.expert_logits.isnan().equal(~chosen)
    torch.testing.assert_close(sparse.expert_logits[chosen], dense.expert_logits[chosen], atol=1e-6, rtol=1e-5)
    assert detector.mixture.routing.startswith("experts that are not chosen are not run")


def test_an_expert_that_nobody_chooses_gives_nan_and_costs_nothing(windows):
    detector = detector_of("input_linear", "top_k")
    with torch.no_grad():
        detector.mixture.gate.head.weight.zero_()
        detector.mixture.gate.head.bias.copy_(torch.tensor([1.0, 0.0, 0.0]))
    runs = count_runs(detector)
    output = detector(windows)
    assert runs == {"mel": [6], "spectrogram": [], "first": [6], "second": [], "third": []}
    assert output.expert_logits[:, 1:].isnan().all()
    assert torch.equal(output.logits, output.expert_logits[:, 0])


SPARSE_ROUTERS = [
    {"name": "top_k", "k": 1},
    {"name": "top_k", "k": 2},
    {"name": "confidence", "threshold": 0.6},
    {"name": "budget", "budget": 0.7},
]
SIGHTED_GATES = ["input_linear", "features_conv"]


def label(value: Any) -> str | None:
    return "_".join(str(part) for part in value.values()) if isinstance(value, dict) else None


@pytest.mark.parametrize("gate", SIGHTED_GATES)
@pytest.mark.parametrize("router", SPARSE_ROUTERS, ids=label)
def test_training_runs_the_chosen_experts_alone_to_the_gradients_of_all_with_the_others_undecided(
    gate, router, windows
):
    found = []
    for run_all in (False, True):
        detector = detector_of(gate, router).train()
        with frozen_batch_norm(detector):
            runs = count_runs(detector)
            if run_all:
                detector.runs_all = True
                output = detector(windows)
                chosen = output.gate_weights > 0
                logits = (output.gate_weights * output.expert_logits.where(chosen, 0.0)).sum(dim=1)
                assert all(calls == [6] for calls in runs.values())
            else:
                output = detector(windows)
                chosen, logits = output.gate_weights > 0, output.logits
                counts = chosen.sum(dim=0).tolist()
                assert {name: sum(runs[name]) for name in NAMES} == dict(zip(NAMES, counts, strict=True))
                assert all(len(calls) <= 1 for calls in runs.values())
                assert not chosen.all()
                assert output.expert_logits.isnan().equal(~chosen)
            torch.manual_seed(0)
            (logits * torch.randn(6)).sum().backward()
        found.append((logits.detach(), {name: one.grad for name, one in detector.named_parameters()}))
    (ours, sparse), (theirs, dense) = found
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    for name, gradient in sparse.items():
        torch.testing.assert_close(gradient, dense[name], atol=1e-6, rtol=1e-4, msg=name)
    assert any(gradient.abs().sum() > 0 for name, gradient in sparse.items() if name.startswith("mixture.gate"))


def test_features_that_were_heard_already_are_judged_by_the_chosen_experts_alone(windows):
    detector = detector_of("features_conv", "top_k")
    with torch.inference_mode():
        features = detector.extract(windows)
        runs = count_runs(detector)
        predictions, whole = detector.predict_features(features, windows), detector(windows)
    torch.testing.assert_close(predictions.logits, whole.logits, atol=1e-6, rtol=1e-5)
    assert sum(sum(runs[name]) for name in NAMES) == 2 * 6


def test_an_expert_chosen_for_one_window_of_a_batch_judges_it_by_its_running_statistics():
    detector = detector_of({"name": "features_conv"}, "top_k").train()
    lone = detector.mixture.experts["first"]
    before = {name: value.clone() for name, value in lone.state_dict().items()}
    detector.mixture.gate.forward = lambda seen: torch.eye(3)[[0, 1, 1]]
    windows = 0.1 * torch.randn(3, SAMPLES)
    output = detector(windows)
    assert all(torch.equal(before[name], value) for name, value in lone.state_dict().items())
    with torch.no_grad():
        alone = lone.eval()(detector.extract(windows)["mel"][:1])
    torch.testing.assert_close(output.logits[:1], alone.logits)
    output.logits.sum().backward()
    gradients = {name: [one.grad for one in detector.mixture.experts[name].parameters()] for name in NAMES}
    assert all(one is not None for parts in gradients.values() for one in parts), "processes wait for each of them"
    assert all(one.abs().sum() == 0 for one in gradients["third"])
    assert any(one.abs().sum() > 0 for one in gradients["first"])


def test_a_router_can_be_told_to_train_all_experts(windows):
    detector = detector_of("input_linear", {"name": "top_k", "train_all": True}).train()
    runs = count_runs(detector)
    assert detector(windows).expert_logits.isfinite().all()
    assert all(calls == [6] for calls in runs.values())
    assert detector.mixture.routing.endswith("(while training, all are)")


def test_sparse_training_works_where_experts_compute_in_bfloat16(windows):
    detector = detector_of("features_conv", "top_k").train()
    with torch.autocast("cpu", torch.bfloat16):
        output = detector(windows)
    output.logits.sum().backward()
    assert output.logits.isfinite().all()


def test_a_front_end_that_the_gate_sees_runs_once_and_others_only_where_they_are_needed(windows):
    gate = {"name": "features_conv", "front_end": "spectrogram"}
    detector = detector_of(gate, "top_k")
    detector.mixture.gate.forward = lambda seen: seen.new_tensor([[1.0, 0.0, 0.0]]).expand(6, 3)
    runs = count_runs(detector)
    detector(windows)
    assert runs == {"mel": [6], "spectrogram": [6], "first": [6], "second": [], "third": []}
    detector.mixture.gate.forward = lambda seen: seen.new_tensor([[0.0, 0.0, 1.0]]).expand(6, 3)
    detector(windows)
    assert runs == {"mel": [6], "spectrogram": [6, 6], "first": [6], "second": [], "third": [6]}


def test_a_gate_may_have_a_cheap_front_end_of_its_own_and_one_that_nobody_names_is_not_run(windows):
    torch.manual_seed(0)
    spec = {
        "front_ends": {"mel": "log_mel", "coarse": {"name": "log_mel", "bands": 8}, "idle": "log_spectrogram"},
        "experts": {
            name: {"front_end": "mel", "name": "resnet", "widths": (8, 8), "depths": (1, 1)} for name in NAMES
        },
        "gate": {"name": "features_conv", "front_end": "coarse"},
        "window_s": SAMPLES / 16000,
    }
    detector = DetectorModel(DetectorSpec.parse(spec)).eval()
    assert detector.mixture.gate.conv[1].in_channels == 8
    runs = count_runs(detector)
    assert detector(windows).logits.isfinite().all()
    assert (runs["mel"], runs["coarse"], runs["idle"]) == ([6], [6], [])


def test_a_gate_is_told_which_front_ends_it_can_see():
    with pytest.raises(ConfigurationError, match="names the front end 'mell'; did you mean 'mel'"):
        detector_of({"name": "features_conv", "front_end": "mell"})
    spec = tiny_spec().to_dict() | {"front_ends": {"log_mel": "waveform", "log_spectrogram": "log_spectrogram"}}
    spec["experts"] = {"linear": spec["experts"]["linear"]}
    with pytest.raises(ConfigurationError, match=r"features_conv' sees features \(F, T\)"):
        DetectorModel(DetectorSpec.parse(spec | {"gate": "features_conv"}))


def test_the_confidence_router_runs_one_expert_where_the_gate_is_sure_and_more_where_not():
    logits = torch.log(torch.tensor([[0.9, 0.06, 0.04], [0.2, 0.5, 0.3], [0.3, 0.3, 0.4]]))

    def chosen(**options: Any) -> list[list[bool]]:
        router = ROUTERS.build(Spec("confidence", options), experts=3).eval()
        return (router(logits) > 0).tolist()

    assert chosen(threshold=0.75) == [[True, False, False], [False, True, True], [True, True, True]]
    assert chosen(threshold=0.55) == [[True, False, False], [False, True, True], [True, False, True]]
    assert chosen(threshold=0.75, max_experts=1) == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    assert chosen(threshold=1.0) == [[True] * 3] * 3


def test_the_budget_router_buys_experts_in_order_of_preference_as_long_as_they_fit():
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0]])

    def chosen(budget: float, **costs: float) -> list[list[bool]]:
        router = ROUTERS.build(Spec("budget", {"budget": budget, "costs": costs}), experts=3, expert_names=NAMES)
        return (router.eval()(logits) > 0).tolist()

    dear = {"first": 8.0, "second": 1.0, "third": 1.0}
    assert chosen(0.2, **dear) == [[False, True, True]] * 3
    assert chosen(0.1, **dear) == [[False, True, False], [False, True, False], [False, False, True]]
    assert chosen(0.9, **dear) == [[True, True, False], [False, True, True], [False, True, True]]
    assert chosen(1.0, **dear) == [[True] * 3] * 3
    assert chosen(2 / 3, first=1.0, second=1.0, third=1.0) == [
        [True, True, False],
        [False, True, True],
        [False, True, True],
    ]


def test_costs_that_are_not_given_are_measured_and_travel_with_the_detector():
    detector = detector_of("features_conv", {"name": "budget", "budget": 0.6})
    costs = detector.spec.router.options["costs"]
    assert set(costs) == set(NAMES)
    assert costs["third"] > 2 * costs["first"] > 0, "257 bins cost more than 20 bands"
    assert costs["first"] == costs["second"]
    again = DetectorModel(DetectorSpec.parse(detector.spec.to_dict()))
    assert again.spec == detector.spec
    given = detector_of("features_conv", {"name": "budget", "costs": dict.fromkeys(NAMES, 2)})
    assert given.mixture.router.costs.tolist() == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("router", "message"),
    [
        ({"name": "confidence", "threshold": 0.0}, r"threshold must be in \(0, 1\]"),
        ({"name": "confidence", "max_experts": 4}, "max_experts = 4 of 3 experts"),
        ({"name": "budget", "budget": 0.1, "costs": dict.fromkeys(NAMES, 1.0)}, "pays for no expert"),
        ({"name": "budget", "costs": {"frist": 1.0}}, "no expert 'frist'; did you mean 'first'"),
        ({"name": "budget", "costs": {"first": 1.0}}, "no cost for second, third"),
        ({"name": "budget", "costs": dict.fromkeys(NAMES, 0.0)}, "costs must be positive"),
    ],
)
def test_budgets_and_thresholds_that_cannot_be_are_refused(router, message):
    with pytest.raises(ConfigurationError, match=message):
        detector_of("input_linear", router)


def test_under_a_gate_that_sees_embeddings_top_k_only_zeroes_weights_and_says_so(windows):
    detector = detector_of("attention", {"name": "top_k", "k": 2})
    output = detector(windows)
    assert output.expert_logits.isfinite().all()
    assert ((output.gate_weights > 0).sum(dim=1) == 2).all()
    assert "but all are run" in detector.mixture.routing


def test_a_gate_that_sees_the_waveform_sees_it_at_the_detectors_level(windows):
    detector = detector_of("input_linear", level_dbfs=-26.0)
    with torch.inference_mode():
        loud, soft = detector(windows), detector(0.2 * windows)
    assert loud.gate_weights.std() > 1e-3
    torch.testing.assert_close(loud.gate_weights, soft.gate_weights, atol=1e-4, rtol=1e-4)


def test_noise_of_the_router_is_for_training_only(windows):
    router = {"name": "top_k", "k": 2, "noise": 3.0}
    detector = detector_of("input_linear", router)
    logits = torch.tensor([[1.0, 0.5, 0.0]]).expand(64, 3)
    assert detector.mixture.router(logits).unique(dim=0).shape[0] == 1
    torch.manual_seed(0)
    chosen = (detector.mixture.router.train()(logits) > 0).float().mean(dim=0)
    assert chosen.min() > 0.2


def test_a_top_1_gate_learns_although_its_weight_is_always_one():
    detector = detector_of("input_linear", "top_k").train()
    router = detector.mixture.router
    logits = torch.tensor([[0.3, 0.1, -0.2]], requires_grad=True)
    weights = router(logits)
    assert weights.tolist() == [[1.0, 0.0, 0.0]]
    (weights * torch.tensor([[0.0, 5.0, 0.0]])).sum().backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] > 0 > logits.grad[0, 0]


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 4}, {"noise": -1.0}])
def test_routing_that_cannot_be_is_refused(options):
    with pytest.raises(ConfigurationError, match=r"top_k|noise must not be negative"):
        detector_of("input_linear", {"name": "top_k", **options})


def test_load_imbalance_is_1_for_even_use_and_e_for_one_expert():
    even = 50.0 * torch.eye(3)
    assert load_imbalance(even, even.softmax(dim=1)).item() == pytest.approx(1.0)
    one = 50.0 * torch.eye(3)[[0, 0, 0]]
    assert load_imbalance(one, one.softmax(dim=1)).item() == pytest.approx(3.0)
    logits = torch.tensor([[1.0, 0.0, 0.0]], requires_grad=True)
    load_imbalance(logits, logits.softmax(dim=1)).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0] > 0


@pytest.mark.parametrize("training", [False, True])
def test_the_enhanced_gate_is_the_papers_formula(training):
    """Written out expert by expert, as the paper and its code say it; experts of unlike scale."""
    gate = detector_of("embedding_fc").mixture.gate.train(training)
    gate.head[1].p = 0.0
    seen = torch.randn(64, 3, 8) * torch.tensor([1.0, 3.0, 0.5])[:, None] + torch.tensor([0.0, 1.0, -1.0])[:, None]
    before = copy.deepcopy(gate)
    found = before(seen)
    assert before.norm.num_batches_tracked == (3 if training else 0)
    parts = []
    for expert in range(3):
        entered = torch.nn.functional.linear(
            seen[:, expert], gate.projection_weight[expert], gate.projection_bias[expert]
        )
        parts.append(torch.nn.functional.leaky_relu(gate.norm(entered)))
    common = parts[0] * parts[1] * parts[2] * gate.interaction
    expected = gate.head(torch.cat([*parts, common], dim=1))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(before.norm.running_var, gate.norm.running_var)
    assert gate.head[0].in_features == 4 * 32


def test_segments_are_judged_like_windows_and_their_logits_averaged(windows):
    whole = detector_of("concat", segments=2, window_s=1.0)
    parts = detector_of("concat")
    parts.load_state_dict(whole.state_dict())
    long = windows.reshape(3, 2 * SAMPLES)
    with torch.inference_mode():
        together, apart = whole(long), parts(windows)
    torch.testing.assert_close(together.logits, apart.logits.view(3, 2).mean(dim=1))
    torch.testing.assert_close(together.gate_weights, apart.gate_weights.view(3, 2, 3).mean(dim=1))
    assert together.expert_outputs["first"].embeddings.shape == (3, 8)


def test_the_attention_gate_attends_over_experts_and_segments(windows):
    detector = detector_of("attention", segments=2, window_s=1.0)
    long = windows.reshape(3, 2 * SAMPLES)
    other_end = long.clone()
    other_end[:, SAMPLES:] = long[[1, 2, 0], SAMPLES:]
    seen: list[Tensor] = []
    detector.mixture.gate.register_forward_hook(lambda _, __, output: seen.append(output.view(-1, 2, 3)))
    with torch.inference_mode():
        together, _, alone = detector(long), detector(other_end), detector(long[1:2])
    torch.testing.assert_close(together.logits[1:2], alone.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(together.gate_weights.sum(dim=1), torch.ones(3))
    first_segment = (seen[0] - seen[1])[:, 0].abs().max()
    assert first_segment > 1e-4, "weights of the first segment do not depend on what the second holds"


def test_segments_of_sparse_mixtures_average_what_was_run(windows):
    detector = detector_of("input_linear", "top_k", segments=2, window_s=1.0)
    long = windows.reshape(3, 2 * SAMPLES)
    with torch.inference_mode():
        sparse = detector(long)
        detector.runs_all = True
        dense = detector(long)
    torch.testing.assert_close(sparse.logits, dense.logits, atol=1e-6, rtol=1e-5)
    assert sparse.logits.isfinite().all()


@pytest.mark.parametrize("segments", [0, 3])
def test_windows_that_do_not_divide_are_refused(segments):
    with pytest.raises(ConfigurationError, match="equal segments"):
        detector_of("uniform", segments=segments)
