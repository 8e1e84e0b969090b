"""The sharpness-aware step: exact, whatever the network does; each trap fails a textbook version written here."""

from __future__ import annotations

import copy
import functools
import io
import itertools

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from textbook import TextbookSAM, double_batch, in_one_of_two, mixture_loss_of, tiny_detector
from veravox.errors import ConfigurationError, TrainingError
from veravox.training import SharpnessAware, sharpness_aware_step


class Routed(nn.Module):
    """Two experts; the first number of the gate's weight decides which one runs, and only that one."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(2, 2, bias=False)
        self.experts = nn.ModuleList([nn.Linear(2, 1), nn.Linear(2, 1)])
        self.ran: list[int] = []
        with torch.no_grad():
            self.gate.weight.copy_(torch.tensor([[0.51, 0.0], [0.5, 0.0]]))

    def forward(self, inputs):
        value, chosen = self.gate(inputs).softmax(-1).mean(0).topk(1)
        self.ran.append(int(chosen))
        return value * self.experts[int(chosen)](inputs)


class Noisy(nn.Module):
    """Batch norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))

    def forward(self, inputs):
        return self.body(inputs)


def noisy(seed: int = 0) -> tuple[Noisy, torch.Tensor]:
    torch.manual_seed(seed)
    return Noisy(), torch.randn(16, 4) + 1.0


def weights_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same(before, after):
    assert before.keys() == after.keys()
    for name in before:
        assert torch.equal(before[name], after[name]), name


def routed_loss(model, inputs):
    # Pass 1 chooses expert 0; its own gradient pushes the gate towards expert 1.
    return lambda: (model(inputs) - 3.0).square().mean() + 4.0 * model.gate.weight[0].sum()


def test_a_step_without_learning_rate_leaves_every_weight_bit_identical_whatever_the_routing():
    for keep in (True, False):
        torch.manual_seed(1)
        model, inputs = Routed(), torch.randn(8, 2).abs()
        # Uphill for expert 1's share, so that free choices differ between the passes.
        loss = lambda model=model, inputs=inputs: model(inputs).mean() - 9.0 * model.gate.weight[0].sum()  # noqa: E731
        before = weights_of(model)
        sharpness_aware_step(torch.optim.SGD(model.parameters(), lr=0.0), loss, rho=0.3, keep_choices=keep)
        assert_same(before, weights_of(model))
        assert model.ran == ([0, 0] if keep else [0, 1])


def test_trap_a_the_textbook_version_leaves_an_unused_expert_perturbed():
    torch.manual_seed(1)
    model, inputs = Routed(), torch.randn(8, 2).abs()
    before = weights_of(model)
    textbook = TextbookSAM(torch.optim.SGD(model.parameters(), lr=0.0), rho=0.3)
    textbook.step(lambda: model(inputs).mean() - 9.0 * model.gate.weight[0].sum())
    assert model.ran == [0, 1]
    after = weights_of(model)
    assert not torch.equal(before["experts.0.weight"], after["experts.0.weight"])


def test_trap_b_a_resumed_run_equals_an_unbroken_one_and_the_textbook_version_forgets():
    for method in ("sam", "looksam", "friendly", "esam", "gsam"):
        options = {"method": method, "every": 3, "warm_up_steps": 2}

        def run(breaks, options=options):
            model, inputs = noisy()
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
            for step in range(7):
                if step == 4 and breaks:
                    held = io.BytesIO()
                    torch.save([model.state_dict(), optimizer.state_dict()], held)
                    held.seek(0)
                    saved = torch.load(held, weights_only=True)
                    model, _ = noisy(5)
                    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
                    model.load_state_dict(saved[0])
                    optimizer.load_state_dict(saved[1])
                torch.manual_seed(step)
                sharpness_aware_step(optimizer, lambda: model(inputs).square().mean(), 0.1, **options)  # noqa: B023
            return weights_of(model)

        assert_same(run(False), run(True))
    model, inputs = noisy()
    textbook = TextbookSAM(torch.optim.Adam(model.parameters()), rho=0.1)
    textbook.step(lambda: model(inputs).square().mean())
    assert not any("exp_avg" in state for state in textbook.state_dict()["state"].values())


def test_trap_c_batch_statistics_come_from_the_first_pass_and_the_textbook_version_counts_twice():
    def after(step):
        model, inputs = noisy()
        step(torch.optim.SGD(model.parameters(), lr=0.1), lambda: model(inputs).square().mean())
        return {name: value for name, value in weights_of(model).items() if "running" in name or "num" in name}

    def base(optimizer, loss):
        loss().backward()
        optimizer.step()

    expected = after(base)
    assert_same(expected, after(lambda optimizer, loss: sharpness_aware_step(optimizer, loss, 0.5)))
    textbook = after(lambda optimizer, loss: TextbookSAM(optimizer, 0.5).step(loss))
    assert int(textbook["body.1.num_batches_tracked"]) == 2
    assert not torch.equal(textbook["body.1.running_mean"], expected["body.1.running_mean"])


def test_trap_d_both_passes_see_the_same_noise_and_the_textbook_version_draws_anew():
    def masks(step):
        torch.manual_seed(0)
        weight, seen = nn.Parameter(torch.ones(64)), []

        def loss():
            mask = torch.rand(64) > 0.5
            seen.append(mask)
            return (weight * mask).square().sum()

        step(torch.optim.SGD([weight], lr=0.1), loss)
        return seen, torch.rand(3)

    ours, next_draw = masks(lambda optimizer, loss: sharpness_aware_step(optimizer, loss, 0.1))
    assert len(ours) == 2
    assert torch.equal(ours[0], ours[1])
    torch.manual_seed(0)
    torch.rand(64)
    assert torch.equal(next_draw, torch.rand(3)), "a step draws as much as one pass"
    theirs, _ = masks(lambda optimizer, loss: TextbookSAM(optimizer, 0.1).step(loss))
    assert not torch.equal(theirs[0], theirs[1])


def test_generators_of_a_module_s_own_are_replayed_with_and_without_the_model():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.generator, self.seen = nn.Parameter(torch.ones(9)), torch.Generator(), []

        def forward(self):
            self.seen.append(torch.rand(9, generator=self.generator))
            return (self.weight * self.seen[-1]).square().sum()

    for known in (True, False):
        model = Own()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            sharpness_aware_step(optimizer, model, 0.1, model=model if known else None)
        assert torch.equal(model.seen[0], model.seen[1])
        assert torch.equal(model.seen[2], model.seen[3])
        assert not torch.equal(model.seen[1], model.seen[2])


def test_trap_e_accumulated_micro_batches_equal_the_whole_batch_and_the_textbook_version_does_not():
    inputs = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def after(step):
        weight = nn.Parameter(torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64))
        loss_of = lambda rows: lambda: (rows @ weight - 1.0).pow(4).mean()  # noqa: E731
        step(torch.optim.SGD([weight], lr=0.01), loss_of)
        return weight.detach()

    halves = (inputs[:4], inputs[4:])
    whole = after(lambda optimizer, of: sharpness_aware_step(optimizer, of(inputs), 0.3))
    ours = after(lambda optimizer, of: sharpness_aware_step(optimizer, [of(half) for half in halves], 0.3))
    torch.testing.assert_close(ours, whole, rtol=1e-12, atol=0)

    def textbook(optimizer, of):
        sam = TextbookSAM(optimizer, 0.3)
        for half in halves:
            (of(half)() / 2).backward()
        sam.first_step()
        (of(halves[-1])() / 2).backward()  # pass 2 has the last micro-batch alone
        sam.second_step()

    assert not torch.allclose(after(textbook), whole, rtol=1e-3)


def test_trap_f_clipping_sees_the_final_gradient_and_the_textbook_version_clips_the_first():
    def after(step):
        weight = nn.Parameter(torch.tensor([3.0, 4.0]))
        step(torch.optim.SGD([weight], lr=1.0), lambda: weight.square().sum(), weight)
        return (weight.detach() - torch.tensor([3.0, 4.0])).norm()

    ours = after(lambda optimizer, loss, _: sharpness_aware_step(optimizer, loss, 1.0, clip_norm=0.5))
    torch.testing.assert_close(ours, torch.tensor(0.5), rtol=1e-4, atol=0)

    def textbook(optimizer, loss, weight):
        sam = TextbookSAM(optimizer, 1.0)
        loss().backward()
        nn.utils.clip_grad_norm_([weight], 0.5)
        sam.first_step()
        loss().backward()
        sam.second_step()

    assert after(textbook) > 5


def test_trap_f_a_scaler_changes_nothing_but_skips_what_overflows():
    def after(scaler, value=1.0, **options):
        weight = nn.Parameter(torch.tensor([3.0, 4.0]))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        sharpness_aware_step(optimizer, lambda: weight.square().sum() * value, 1.0, scaler=scaler, **options)
        return weight.detach()

    for method in ("sam", "gsam", "looksam", "friendly"):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        torch.testing.assert_close(after(scaler, method=method), after(None, method=method))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    assert torch.equal(after(scaler, value=float("inf")), torch.tensor([3.0, 4.0]))
    assert scaler.get_scale() == 512.0


@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("rho", [0.0, 1e-30])
def test_without_a_perturbation_it_is_the_base_optimiser_bit_for_bit(base, rho):
    def run(step):
        model, inputs = noisy()
        optimizer = base(model.parameters(), lr=0.05)
        for _ in range(3):
            step(optimizer, lambda: model(inputs).square().mean())
        return weights_of(model), torch.get_rng_state()

    def plain(optimizer, loss):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    expected, ours = run(plain), run(lambda optimizer, loss: sharpness_aware_step(optimizer, loss, rho))
    assert_same(expected[0], ours[0])
    assert torch.equal(expected[1], ours[1])


def test_a_quadratic_moves_as_calculated_by_hand():
    def moved(rho=0.5, **options):
        weight = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
        curvature = torch.tensor([2.0, 1.0], dtype=torch.float64)
        optimizer = torch.optim.SGD([weight], lr=1.0)
        loss = sharpness_aware_step(optimizer, lambda: 0.5 * (curvature * weight * weight).sum(), rho, **options)
        assert float(loss) == 17.0, "the loss of pass 1"
        return torch.tensor([3.0, 4.0], dtype=torch.float64) - weight.detach(), curvature

    start = torch.tensor([3.0, 4.0], dtype=torch.float64)
    step, curvature = moved()
    gradient = curvature * start
    torch.testing.assert_close(step, curvature * (start + 0.5 * gradient / gradient.norm()))
    step, _ = moved(adaptive=True, eta=0.0)
    scaled = start * gradient
    torch.testing.assert_close(step, curvature * (start + 0.5 * start * scaled / scaled.norm()))
    second = curvature * (start + 0.5 * gradient / gradient.norm())
    across = gradient - (gradient @ second) / (second @ second) * second
    step, _ = moved(method="gsam", alpha=0.3)
    torch.testing.assert_close(step, second - 0.3 * across)


@pytest.mark.parametrize("scaled", ["all", "weights"])
def test_an_adaptive_step_scales_all_parameters_or_weights_alone_as_its_authors_code(scaled):
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    plain, inputs = copy.deepcopy(ours), torch.randn(16, 4, dtype=torch.float64)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in (ours, plain)]
    for _ in range(8):
        options = {"adaptive": True, "eta": 0.01, "scaled": scaled, "model": ours}
        sharpness_aware_step(optimizers[0], lambda: ours(inputs).square().mean(), 0.5, **options)
        # SamsungLabs/ASAM, with the rule for names as an option
        optimizers[1].zero_grad()
        plain(inputs).square().mean().backward()
        moves = {}
        with torch.no_grad():
            for name, parameter in plain.named_parameters():
                sizes = parameter.abs() + 0.01 if scaled == "all" or "weight" in name else 1.0
                moves[name] = (sizes, parameter.grad * sizes)
            length = torch.stack([gradient.norm() for _, gradient in moves.values()]).norm()
            before = copy.deepcopy(plain.state_dict())
            for name, parameter in plain.named_parameters():
                parameter.add_(moves[name][0] * moves[name][1] * 0.5 / length)
        optimizers[1].zero_grad()
        plain(inputs).square().mean().backward()
        plain.load_state_dict(before)
        optimizers[1].step()
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    nameless = {"adaptive": True, "scaled": "weights"}
    with pytest.raises(TrainingError, match="goes by names; pass model="):
        sharpness_aware_step(optimizers[0], lambda: ours(inputs).square().mean(), 0.5, **nameless)


def test_looksam_reuses_the_direction_across_the_gradient():
    weight = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    calls = []

    def loss():
        calls.append(1)
        return (torch.tensor([1.0, 0.5]) * weight * weight).sum()

    used = []
    options = {"method": "looksam", "every": 3, "alpha": 0.7}
    for _ in range(4):
        sharpness_aware_step(
            optimizer, loss, 0.5, before_update=lambda: used.append(weight.grad.clone()), **options
        )
    assert len(calls) == 2 + 1 + 1 + 2
    gradient = torch.tensor([6.0, 4.0], dtype=torch.float64)
    reused = used[1] - gradient
    torch.testing.assert_close(reused @ gradient, torch.tensor(0.0, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(reused.norm(), 0.7 * gradient.norm())
    assert reused @ used[0] > 0


def test_groups_have_their_own_rho_or_none_and_parts_are_left_out_by_name():
    def where(groups, **options):
        first, second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            first.weight.fill_(3.0)
            second.weight.fill_(4.0)
        model = nn.ModuleDict({"gate": first, "expert": second})
        seen = []

        def loss():
            seen.append((float(first.weight.detach()), float(second.weight.detach())))
            return 0.5 * (first.weight.square() + second.weight.square()).sum()

        parameters = [{"params": first.parameters()}, {"params": second.parameters()}]
        for group, extra in zip(parameters, groups, strict=True):
            group.update(extra)
        sharpness_aware_step(torch.optim.SGD(parameters, lr=0.0), loss, 1.0, model=model, **options)
        return seen[1]

    assert where([{}, {}]) == pytest.approx((3.6, 4.8))
    assert where([{"rho": 0.0}, {}]) == pytest.approx((3.0, 5.0))
    assert where([{"rho": 2.0}, {}]) == pytest.approx((4.2, 4.8))
    assert where([{}, {}], leave_out=("gate",)) == pytest.approx((3.0, 5.0))
    assert where([{}, {}], length_over="group") == pytest.approx((4.0, 5.0))
    with pytest.raises(TrainingError, match="did you mean 'gate'"):
        where([{}, {}], leave_out=("gates",))


def test_rho_rises_and_falls_as_scheduled():
    options = SharpnessAware(rho=0.4, warm_up_steps=4, total_steps=14, final_rho=0.1)
    assert [options.rho_at(step) for step in (0, 1, 4, 9, 14, 99)] == pytest.approx([0, 0.1, 0.4, 0.25, 0.1, 0.1])


@pytest.mark.parametrize("fails_in", [1, 2])
@pytest.mark.parametrize("how", ["exception", "not finite", "skip"])
def test_a_step_that_fails_leaves_everything_as_it_was(fails_in, how):
    model, inputs = noisy()
    optimizer = torch.optim.Adam(model.parameters())
    before, state, calls = weights_of(model), torch.get_rng_state(), []

    def loss():
        calls.append(1)
        value = model(inputs).square().mean()
        if len(calls) == fails_in:
            if how == "exception":
                raise MemoryError("no memory")
            return value * float("nan")
        return value

    if how == "skip":
        sharpness_aware_step(optimizer, loss, 0.5, non_finite="skip")
    else:
        with pytest.raises(MemoryError if how == "exception" else TrainingError):
            sharpness_aware_step(optimizer, loss, 0.5)
    assert_same(before, weights_of(model))
    assert torch.equal(state, torch.get_rng_state())
    assert not optimizer.state
    assert all(parameter.grad is None for parameter in model.parameters())


def test_shared_and_unused_parameters_and_low_precision_are_put_back_exactly():
    torch.manual_seed(0)
    shared, unused = nn.Linear(4, 4), nn.Linear(4, 4)
    model = nn.ModuleList([shared, shared, unused]).to(torch.bfloat16)
    before = weights_of(model)
    inputs = torch.randn(3, 4, dtype=torch.bfloat16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    sharpness_aware_step(optimizer, lambda: shared(shared(inputs)).float().square().mean(), 0.7)
    assert_same(before, weights_of(model))


def test_under_autocast_around_the_step_the_second_pass_sees_moved_weights():
    layer = nn.Linear(8, 8, bias=False)
    seen = []

    def loss():
        out = layer(torch.eye(8))
        seen.append(out.detach().float().clone())
        return out.float().square().sum()

    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sharpness_aware_step(optimizer, loss, 5.0)
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("reentrant", [None, False, True])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_under_gradient_checkpointing_weights_and_statistics_are_those_without(reentrant, known, micro_batches):
    def run(reentrant):
        model, inputs = noisy()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def loss(part):
            if reentrant is None:
                return model(part).square().mean()
            return checkpoint(model, part.clone().requires_grad_(), use_reentrant=reentrant).square().mean()

        torch.manual_seed(1)
        for _ in range(3):
            parts = [functools.partial(loss, part) for part in inputs.chunk(micro_batches)]
            sharpness_aware_step(optimizer, parts, 0.05, model=model if known else None)
        return weights_of(model)

    plain = run(None)
    assert plain["body.1.num_batches_tracked"] == 3 * micro_batches
    assert_same(plain, run(reentrant))


def test_the_second_pass_may_draw_its_noise_anew():
    def masks(noise):
        torch.manual_seed(0)
        weight, seen = nn.Parameter(torch.ones(64)), []

        def loss():
            seen.append(torch.rand(64) > 0.5)
            return (weight * seen[-1]).square().sum()

        sharpness_aware_step(torch.optim.SGD([weight], lr=0.1), loss, 0.1, noise=noise)
        return seen

    torch.manual_seed(0)
    drawn = [torch.rand(64) > 0.5, torch.rand(64) > 0.5]
    assert all(torch.equal(one, other) for one, other in zip(masks("redrawn"), drawn, strict=True))
    assert torch.equal(*masks("replayed"))


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda weight: weight * 2, "scalar"),
        (lambda weight: 1.0, "scalar"),
        (lambda weight: weight.sum().detach(), "without gradient"),
        (lambda weight: weight.sum().backward() or weight.sum(), "must not call backward"),
    ],
)
def test_a_loss_that_cannot_be_stepped_on_is_refused_with_the_remedy(loss, words):
    weight = nn.Parameter(torch.ones(2))
    with pytest.raises(TrainingError, match=words):
        sharpness_aware_step(torch.optim.SGD([weight], lr=0.1), lambda: loss(weight))


def test_a_misspelt_option_is_answered_with_the_nearest():
    weight = nn.Parameter(torch.ones(2))
    with pytest.raises(ConfigurationError, match="adaptive"):
        sharpness_aware_step(torch.optim.SGD([weight], lr=0.1), lambda: weight.sum(), 0.1, adaptiv=True)
    with pytest.raises(ConfigurationError, match="rho"):
        SharpnessAware(rho=-1.0)


@pytest.mark.parametrize("router", [{"name": "top_k", "k": 1, "noise": 1.0}, "soft"])
@pytest.mark.parametrize("method", ["sam", "gsam", "looksam", "esam", "friendly"])
def test_a_detector_with_a_sparse_router_is_left_bit_identical_without_learning_rate(router, method):
    detector = tiny_detector(router)
    before = {name: value.clone() for name, value in detector.named_parameters()}
    optimizer = torch.optim.AdamW(detector.parameters(), lr=0.0, weight_decay=0.0)
    loss = mixture_loss_of(detector)
    for _ in range(3):
        sharpness_aware_step(optimizer, loss, 0.5, method=method, model=detector)
    for name, value in detector.named_parameters():
        assert torch.equal(before[name], value), name


def peak_bytes(build, kinds):
    """Of each kind the most that tensors hold at any moment of its second step, beyond what they held before.

    All in one session of the profiler, which knows the sizes of what was allocated under it alone.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        steps = {kind: build(kind) for kind in kinds}
        for kind, step in steps.items():
            step()
            with torch.profiler.record_function(kind):
                step()
    events = sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    memory = [(event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]"]
    found = {}
    for event in events:
        if event.name() in steps:
            first, last = event.start_ns(), event.start_ns() + event.duration_ns()
            inside = [size for moment, size in memory if first <= moment <= last]
            found[event.name()] = max(itertools.accumulate(inside))
    return found


@pytest.mark.parametrize("base", [torch.optim.SGD, torch.optim.Adam])
def test_the_step_costs_one_copy_of_the_weights_and_what_it_replays(base):
    inputs = torch.randn(4096, 64)
    models = []

    def build(kind):
        layers = (nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, 1))
        models.append(model := nn.Sequential(*layers))
        optimizer = base(model.parameters())

        def loss():
            return model(inputs).square().mean()

        def plain():
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

        return plain if kind == "plain" else lambda: sharpness_aware_step(optimizer, loss, model=model)

    peaks = peak_bytes(build, ("plain", "sharpness-aware"))
    copy = sum(value.nbytes for value in models[0].parameters())
    replayed = sum(value.nbytes for value in models[0].buffers()) + torch.get_rng_state().nbytes
    scalars = 64
    assert copy <= peaks["sharpness-aware"] - peaks["plain"] <= copy + 2 * replayed + scalars


def test_half_of_the_batch_can_find_the_direction():
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    half, whole = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
    used = []
    loss = sharpness_aware_step(
        torch.optim.SGD([weight], lr=0.0),
        lambda: 0.5 * (whole * weight.square()).sum(),
        0.5,
        ascent_loss=lambda: 0.5 * (half * weight.square()).sum(),
        before_update=lambda: used.append(copy.deepcopy(weight.grad)),
    )
    assert float(loss) == 0.5
    torch.testing.assert_close(used[0], torch.tensor([1.5, 2.0]))


def test_two_processes_equal_one_with_the_double_batch_where_the_perturbation_is_global(tmp_path):
    inputs, model = double_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        sharpness_aware_step(optimizer, lambda: model(inputs).pow(4).mean(), 0.3)
    torch.multiprocessing.spawn(in_one_of_two, (str(tmp_path),), nprocs=2)
    for across in ("global", "local"):
        theirs = [torch.load(tmp_path / f"{across}-{rank}.pt", weights_only=True) for rank in (0, 1)]
        assert_same(*theirs)
        same = all(
            torch.allclose(theirs[0][name], value, rtol=1e-10) for name, value in model.state_dict().items()
        )
        assert same == (across == "global")
