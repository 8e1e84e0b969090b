"""Graph attention over spectral and temporal nodes: what AASIST builds on its encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

READ_OUTS = 5


class NodeProjection(nn.Module):
    """SELU(BN(W1 (A x) + W2 x)): nodes (B, N, D) mixed by attention (B, N, N)."""

    def __init__(self, size_in: int, size_out: int) -> None:
        super().__init__()
        self.proj_attended = nn.Linear(size_in, size_out)
        self.proj_self = nn.Linear(size_in, size_out)
        self.normalise = nn.BatchNorm1d(size_out)

    def forward(self, nodes: Tensor, attention: Tensor) -> Tensor:
        projected = self.proj_attended(attention @ nodes) + self.proj_self(nodes)
        return functional.selu(self.normalise(projected.transpose(1, 2)).transpose(1, 2))


class GraphAttention(nn.Module):
    """Attention among nodes of one type, (B, N, size_in) to (B, N, size_out).

    a_ij = w . tanh(W (x_i * x_j)) / temperature, softmax over j.
    """

    def __init__(self, size_in: int, size_out: int, temperature: float, dropout: float = 0.2) -> None:
        super().__init__()
        self.temperature = temperature
        self.drop = nn.Dropout(dropout)
        self.pair = nn.Linear(size_in, size_out)
        self.weight = nn.Parameter(torch.empty(size_out, 1))
        nn.init.xavier_normal_(self.weight)
        self.project = NodeProjection(size_in, size_out)

    def forward(self, nodes: Tensor) -> Tensor:
        nodes = self.drop(nodes)
        pairs = torch.tanh(self.pair(nodes.unsqueeze(2) * nodes.unsqueeze(1)))  # (B, N, N, size_out)
        attention = ((pairs @ self.weight).squeeze(-1) / self.temperature).softmax(dim=-1)
        return self.project(nodes, attention)


class MixedGraphAttention(nn.Module):
    """Attention among temporal and spectral nodes and a master node that listens to both.

    Weights of a pair depend on its types: both temporal, both spectral, or one of each.
    """

    def __init__(self, size_in: int, size_out: int, temperature: float, dropout: float = 0.2) -> None:
        super().__init__()
        self.temperature = temperature
        self.drop = nn.Dropout(dropout)
        self.proj_temporal = nn.Linear(size_in, size_in)
        self.proj_spectral = nn.Linear(size_in, size_in)
        self.pair = nn.Linear(size_in, size_out)
        self.pair_master = nn.Linear(size_in, size_out)
        self.weight_temporal = nn.Parameter(torch.empty(size_out, 1))
        self.weight_spectral = nn.Parameter(torch.empty(size_out, 1))
        self.weight_across = nn.Parameter(torch.empty(size_out, 1))
        self.weight_master = nn.Parameter(torch.empty(size_out, 1))
        for weight in (self.weight_temporal, self.weight_spectral, self.weight_across, self.weight_master):
            nn.init.xavier_normal_(weight)
        self.project = NodeProjection(size_in, size_out)
        self.proj_attended_master = nn.Linear(size_in, size_out)
        self.proj_self_master = nn.Linear(size_in, size_out)

    def forward(self, temporal: Tensor, spectral: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Nodes (B, N, size_in), master (B or 1, 1, size_in); all of size_out in return."""
        border = temporal.shape[1]
        nodes = torch.cat([self.proj_temporal(temporal), self.proj_spectral(spectral)], dim=1)
        nodes = self.drop(nodes)
        attention = self._attention(nodes, border)
        master_attention = torch.tanh(self.pair_master(nodes * master)) @ self.weight_master  # (B, N, 1)
        master_attention = (master_attention / self.temperature).softmax(dim=1)
        master = self.proj_attended_master(master_attention.transpose(1, 2) @ nodes) + self.proj_self_master(
            master
        )
        nodes = self.project(nodes, attention)
        return nodes[:, :border], nodes[:, border:], master

    def _attention(self, nodes: Tensor, border: int) -> Tensor:
        pairs = torch.tanh(self.pair(nodes.unsqueeze(2) * nodes.unsqueeze(1)))  # (B, N, N, size_out)
        weights = torch.cat([self.weight_temporal, self.weight_spectral, self.weight_across], dim=1)
        by_type = pairs @ weights  # (B, N, N, 3)
        temporal = torch.cat([by_type[:, :border, :border, 0], by_type[:, :border, border:, 2]], dim=2)
        spectral = torch.cat([by_type[:, border:, :border, 2], by_type[:, border:, border:, 1]], dim=2)
        return (torch.cat([temporal, spectral], dim=1) / self.temperature).softmax(dim=-1)


class GraphPool(nn.Module):
    """Keeps the given ratio of the nodes, at least one: the highest scores in order, each node times its score."""

    def __init__(self, size: int, ratio: float, dropout: float = 0.3) -> None:
        super().__init__()
        self.ratio = ratio
        self.drop = nn.Dropout(dropout)
        self.score = nn.Linear(size, 1)

    def forward(self, nodes: Tensor) -> Tensor:
        kept = max(int(nodes.shape[1] * self.ratio), 1)
        scores, places = torch.sigmoid(self.score(self.drop(nodes))).topk(kept, dim=1)  # (B, kept, 1)
        return nodes.gather(1, places.expand(-1, -1, nodes.shape[2])) * scores


class GraphBranch(nn.Module):
    """One of the two competing branches: a learned master, two mixed layers, a pool of each type between."""

    def __init__(self, size_in: int, size_out: int, temperature: float, ratio: float) -> None:
        super().__init__()
        self.master = nn.Parameter(torch.randn(1, 1, size_in))
        self.first = MixedGraphAttention(size_in, size_out, temperature)
        self.pool_spectral = GraphPool(size_out, ratio)
        self.pool_temporal = GraphPool(size_out, ratio)
        self.second = MixedGraphAttention(size_out, size_out, temperature)
        self.drop = nn.Dropout(0.2)

    def forward(self, temporal: Tensor, spectral: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        temporal, spectral, master = self.first(temporal, spectral, self.master)
        temporal, spectral = self.pool_temporal(temporal), self.pool_spectral(spectral)
        more_temporal, more_spectral, more_master = self.second(temporal, spectral, master)
        return (
            self.drop(temporal + more_temporal),
            self.drop(spectral + more_spectral),
            self.drop(master + more_master),
        )


class SpectroTemporalGraph(nn.Module):
    """Spectral and temporal nodes to one vector.

    Args:
        size: D of the nodes.
        hidden: D after the mixed layers; the read-out has five times this size.
        spectral_nodes: their number, fixed by learned positions; temporal nodes may be any number.
        pool_ratios: fractions of nodes kept: spectral, temporal, within the branches.
        temperatures: of attention: spectral, temporal, mixed.

    Source:
        Jung et al., AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks,
        ICASSP 2022.
    """

    def __init__(
        self,
        size: int,
        hidden: int,
        spectral_nodes: int,
        pool_ratios: tuple[float, float, float],
        temperatures: tuple[float, float, float] = (2.0, 2.0, 100.0),
    ) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, spectral_nodes, size))
        self.attend_spectral = GraphAttention(size, size, temperatures[0])
        self.attend_temporal = GraphAttention(size, size, temperatures[1])
        self.pool_spectral = GraphPool(size, pool_ratios[0])
        self.pool_temporal = GraphPool(size, pool_ratios[1])
        self.branches = nn.ModuleList(GraphBranch(size, hidden, temperatures[2], pool_ratios[2]) for _ in range(2))
        self.embedding_size = READ_OUTS * hidden

    def forward(self, spectral: Tensor, temporal: Tensor) -> Tensor:
        """Read-out (B, 5 x hidden) of nodes (B, N, size)."""
        spectral = self.pool_spectral(self.attend_spectral(spectral + self.positions))
        temporal = self.pool_temporal(self.attend_temporal(temporal))
        ours, theirs = (branch(temporal, spectral) for branch in self.branches)
        temporal, spectral, master = (torch.maximum(one, other) for one, other in zip(ours, theirs, strict=True))
        return torch.cat(
            [
                temporal.abs().amax(dim=1),
                temporal.mean(dim=1),
                spectral.abs().amax(dim=1),
                spectral.mean(dim=1),
                master.squeeze(1),
            ],
            dim=1,
        )
