"""Explicitly localised experts (MELE): identical LCNNs, each trained on one domain, then joined by a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from veravox.recipes import RECIPES
from veravox.recipes._parts import DOMAINS, JOINT, domain_experts, mixture_recipe
from veravox.training.recipe import Recipe, Stage


def mele(
    name: str,
    description: str,
    gate: str,
    domains: Sequence[str] = DOMAINS,
    joint: bool = True,
    **detector: Any,
) -> Recipe:
    """LCNNs on one shared log-mel, one a domain.

    Args:
        name, description: of the recipe.
        gate: what joins them.
        domains: values of the protocol's `domain`. The papers' were ASVspoof 2019 LA, Fake-or-Real, ADD 2022 and
            In-the-Wild (2025a); ASVspoof 2019, Fake-or-Real, MLAAD and In-the-Wild (2025b).
        joint: whether a joint stage follows.
        detector: further fields of the detector.
    """
    owners = domain_experts(domains)
    stages = [Stage("experts", "experts", {"domains": owners})]
    if joint:
        stages.append(Stage("joint", "joint", {**JOINT, "balance": ["label", "domain"]}))
    experts = {owner: {"front_end": "log_mel", "name": "lcnn"} for owner in owners}
    return mixture_recipe(name, description, experts, gate, stages, mix="mele-2025", **detector)


@RECIPES.register("average_ensemble")
def average_ensemble(domains: Sequence[str] = DOMAINS) -> Recipe:
    """The baseline of the first mixture paper: domain experts, their logits averaged, no joint training."""
    return mele("average_ensemble", "Four domain LCNNs, logits averaged", "uniform", domains, joint=False)


@RECIPES.register("mele_standard")
def mele_standard(domains: Sequence[str] = DOMAINS) -> Recipe:
    """The standard mixture of 2025a: the gate sees the waveform."""
    return mele("mele_standard", "Four domain LCNNs, gate on the input (2025a, standard)", "input_linear", domains)


@RECIPES.register("mele_enhanced")
def mele_enhanced(domains: Sequence[str] = DOMAINS) -> Recipe:
    """The enhanced mixture of 2025a: the gate sees embeddings and their interaction."""
    return mele(
        "mele_enhanced", "Four domain LCNNs, gate on embeddings (2025a, enhanced)", "embedding_fc", domains
    )


@RECIPES.register("mele_cat")
def mele_cat(domains: Sequence[str] = DOMAINS) -> Recipe:
    """MELE-Cat of 2025b: the gate sees all embeddings side by side."""
    return mele("mele_cat", "Four domain LCNNs, concatenation gate (MELE-Cat)", "concat", domains)


@RECIPES.register("mele_att")
def mele_att(domains: Sequence[str] = DOMAINS) -> Recipe:
    """MELE-Att of 2025b: experts' embeddings attend to one another."""
    return mele("mele_att", "Four domain LCNNs, attention gate (MELE-Att)", "attention", domains)


@RECIPES.register("mele_sparse")
def mele_sparse(domains: Sequence[str] = DOMAINS) -> Recipe:
    """Hard routing: the gate sees the log-mel and chooses one expert a window; the others are not run."""
    description = "Four domain LCNNs, gate on the log-mel, only the chosen expert is run"
    router = {"name": "top_k", "k": 1, "noise": 0.5}
    plan = mele("mele_sparse", description, "features_conv", domains, router=router)
    joint = replace(plan.stages[1], overrides={**plan.stages[1].overrides, "load_balance_weight": 0.01})
    return replace(plan, stages=(plan.stages[0], joint))


@RECIPES.register("mele_partition")
def mele_partition(domains: Sequence[str] = DOMAINS) -> Recipe:
    """The enhanced mixture with trials dealt among experts by lot instead of by domain."""
    plan = mele_enhanced(domains)
    description = "LCNNs on a stochastic partition of the trials, gate on embeddings"
    stages = (Stage("experts", "experts", {"partition": True}), *plan.stages[1:])
    experts = {f"lcnn_{index + 1}": one for index, one in enumerate(plan.detector.experts.values())}
    detector = replace(plan.detector, experts=experts)
    return replace(plan, name="mele_partition", description=description, detector=detector, stages=stages)
