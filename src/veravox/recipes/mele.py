"""Explicitly localised experts (MELE): identical LCNNs, each trained on one domain, then joined by a gate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from veravox.recipes import RECIPES
from veravox.recipes.mixtures import (
    DOMAINS,
    JOINT_TRAINING,
    LCNN_TRAINING,
    PUBLISHED_LCNN,
    PUBLISHED_LCNN_TRAINING,
    PUBLISHED_LOG_MEL,
    domain_experts,
    mixture_recipe,
)
from veravox.training.recipe import Recipe
from veravox.training.stages import Stage, TrainExperts, TrainJointly


def mele(
    name: str,
    description: str,
    gate: str,
    domains: Sequence[str] = DOMAINS,
    joint: bool = True,
    **detector: Any,
) -> Recipe:
    """LCNNs on one shared log-mel, one a domain; settings are ours.

    Args:
        name, description: of the recipe.
        gate: what joins them.
        domains: values of the protocol's `domain`. The papers' were ASVspoof 2019 LA, Fake-or-Real, ADD 2022 and
            In-the-Wild (2025a); ASVspoof 2019, Fake-or-Real, MLAAD and In-the-Wild (2025b).
        joint: whether a joint stage follows.
        detector: further fields of the detector.
    """
    owners = domain_experts(domains)
    stages: list[Stage] = [TrainExperts("experts", LCNN_TRAINING, domains=owners)]
    if joint:
        stages.append(TrainJointly("joint", replace(JOINT_TRAINING, balance=("label", "domain"))))
    experts = {owner: {"front_end": "log_mel", "name": "lcnn"} for owner in owners}
    return mixture_recipe(name, description, experts, gate, stages, mix="mele-2025", **detector)


def published(name: str, description: str, gate: str, domains: Sequence[str], joint: bool = True) -> Recipe:
    """The same with the settings of 2025a's code: 64 windows an expert; the joint stage mixes softmax outputs.

    Whether the published figures came so is not certain: the network that its joint stage imports is not public.
    """
    owners = domain_experts(domains)
    alone = replace(PUBLISHED_LCNN_TRAINING, batch_size=64 * len(owners))
    stages: list[Stage] = [TrainExperts("experts", alone, domains=owners)]
    if joint:
        stages.append(TrainJointly("joint", replace(PUBLISHED_LCNN_TRAINING, label_smoothing=0.0)))
    return mixture_recipe(
        name,
        description,
        dict.fromkeys(owners, PUBLISHED_LCNN),
        gate,
        stages,
        PUBLISHED_LOG_MEL,
        mix="mele-2025",
        policy="middle",
        mixing="probabilities" if joint else "logits",
    )


@RECIPES.register("average_ensemble")
def average_ensemble(domains: Sequence[str] = DOMAINS) -> Recipe:
    """The baseline of the first mixture paper: domain experts, no joint training. The mean is ours: of logits."""
    return published("average_ensemble", "Four domain LCNNs, logits averaged", "uniform", domains, joint=False)


@RECIPES.register("mele_standard")
def mele_standard(domains: Sequence[str] = DOMAINS) -> Recipe:
    """The standard mixture of 2025a: the gate sees the waveform."""
    description = "Four domain LCNNs, gate on the input (2025a, standard)"
    return published("mele_standard", description, "input_linear", domains)


@RECIPES.register("mele_enhanced")
def mele_enhanced(domains: Sequence[str] = DOMAINS) -> Recipe:
    """The enhanced mixture of 2025a: the gate sees embeddings and their interaction."""
    description = "Four domain LCNNs, gate on embeddings (2025a, enhanced)"
    return published("mele_enhanced", description, "embedding_fc", domains)


@RECIPES.register("average_ensemble_house")
def average_ensemble_house(domains: Sequence[str] = DOMAINS) -> Recipe:
    """`average_ensemble` with our settings."""
    description = "Four domain LCNNs, logits averaged, house settings"
    return mele("average_ensemble_house", description, "uniform", domains, joint=False)


@RECIPES.register("mele_standard_house")
def mele_standard_house(domains: Sequence[str] = DOMAINS) -> Recipe:
    """`mele_standard` with our settings."""
    description = "Four domain LCNNs, gate on the input, house settings"
    return mele("mele_standard_house", description, "input_linear", domains)


@RECIPES.register("mele_enhanced_house")
def mele_enhanced_house(domains: Sequence[str] = DOMAINS) -> Recipe:
    """`mele_enhanced` with our settings."""
    description = "Four domain LCNNs, gate on embeddings, house settings"
    return mele("mele_enhanced_house", description, "embedding_fc", domains)


@RECIPES.register("mele_cat")
def mele_cat(domains: Sequence[str] = DOMAINS) -> Recipe:
    """MELE-Cat of 2025b, settings ours: the gate sees all embeddings side by side."""
    return mele("mele_cat", "Four domain LCNNs, concatenation gate (MELE-Cat)", "concat", domains)


@RECIPES.register("mele_att")
def mele_att(domains: Sequence[str] = DOMAINS) -> Recipe:
    """MELE-Att of 2025b, settings ours: experts' embeddings attend to one another."""
    return mele("mele_att", "Four domain LCNNs, attention gate (MELE-Att)", "attention", domains)


@RECIPES.register("mele_sparse")
def mele_sparse(domains: Sequence[str] = DOMAINS) -> Recipe:
    """Hard routing: the gate sees the log-mel and chooses one expert a window; the others are not run."""
    description = "Four domain LCNNs, gate on the log-mel, only the chosen expert is run"
    router = {"name": "top_k", "k": 1, "noise": 0.5}
    plan = mele("mele_sparse", description, "features_conv", domains, router=router)
    joint = TrainJointly("joint", plan.stages[1].training, load_balance_weight=0.01)
    return replace(plan, stages=(plan.stages[0], joint))


@RECIPES.register("mele_partition")
def mele_partition(domains: Sequence[str] = DOMAINS) -> Recipe:
    """The enhanced mixture with trials dealt among experts by lot instead of by domain."""
    plan = mele_enhanced_house(domains)
    description = "LCNNs on a stochastic partition of the trials, gate on embeddings"
    stages = (TrainExperts("experts", LCNN_TRAINING, partition=True), *plan.stages[1:])
    experts = {f"lcnn_{index + 1}": one for index, one in enumerate(plan.detector.experts.values())}
    detector = replace(plan.detector, experts=experts)
    return replace(plan, name="mele_partition", description=description, detector=detector, stages=stages)
