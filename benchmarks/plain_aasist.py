"""AASIST written the public way: one layer after another, as the paper draws it, every tensor at full size.

It takes the names of the official checkpoints. It is what `benchmarks/aasist.py` measures ours beside, and a
second implementation for the logits to agree with.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinc_bank(filters: int = 70, taps: int = 129, rate: int = 16000) -> Tensor:
    mel_top = 2595 * np.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, mel_top, filters + 1) / 2595) - 1)
    n = np.arange(-(taps - 1) / 2, (taps - 1) / 2 + 1)
    rows = []
    for low, high in itertools.pairwise(edges):
        wide = 2 * high / rate * np.sinc(2 * high * n / rate)
        narrow = 2 * low / rate * np.sinc(2 * low * n / rate)
        rows.append((wide - narrow) * np.hamming(taps))
    return torch.tensor(np.array(rows), dtype=torch.float32)[:, None]


class Block(nn.Module):
    def __init__(self, a: int, b: int, first: bool) -> None:
        super().__init__()
        self.first = first
        if not first:
            self.bn1 = nn.BatchNorm2d(a)
        self.conv1 = nn.Conv2d(a, b, (2, 3), padding=(1, 1))
        self.bn2 = nn.BatchNorm2d(b)
        self.conv2 = nn.Conv2d(b, b, (2, 3), padding=(0, 1))
        self.selu = nn.SELU(inplace=True)
        self.pool = nn.MaxPool2d((1, 3))
        if a != b:
            self.conv_downsample = nn.Conv2d(a, b, (1, 3), padding=(0, 1))

    def forward(self, x: Tensor) -> Tensor:
        if not self.first:
            self.selu(self.bn1(x))  # the published network computes this and discards it
        out = self.conv2(self.selu(self.bn2(self.conv1(x))))
        if hasattr(self, "conv_downsample"):
            x = self.conv_downsample(x)
        return self.pool(out + x)


class Attention(nn.Module):
    def __init__(self, a: int, b: int, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.att_weight = nn.Parameter(torch.randn(b, 1))
        self.att_proj = nn.Linear(a, b)
        self.proj_with_att = nn.Linear(a, b)
        self.proj_without_att = nn.Linear(a, b)
        self.bn = nn.BatchNorm1d(b)
        self.drop = nn.Dropout(0.2)
        self.selu = nn.SELU(inplace=True)

    def project(self, x: Tensor, weights: Tensor) -> Tensor:
        out = self.proj_with_att(weights @ x) + self.proj_without_att(x)
        return self.selu(self.bn(out.reshape(-1, out.shape[-1])).view(out.shape))

    def pairs(self, x: Tensor) -> Tensor:
        nodes = x.shape[1]
        rows = x.unsqueeze(2).expand(-1, -1, nodes, -1)
        return torch.tanh(self.att_proj(rows * rows.transpose(1, 2)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(x)
        weights = torch.softmax((self.pairs(x) @ self.att_weight) / self.temperature, dim=-2).squeeze(-1)
        return self.project(x, weights)


class MixedAttention(Attention):
    def __init__(self, a: int, b: int, temperature: float) -> None:
        super().__init__(a, b, temperature)
        del self.att_weight
        for kind in ("11", "22", "12", "M"):
            setattr(self, f"att_weight{kind}", nn.Parameter(torch.randn(b, 1)))
        self.proj_type1, self.proj_type2 = nn.Linear(a, a), nn.Linear(a, a)
        self.att_projM = nn.Linear(a, b)
        self.proj_with_attM, self.proj_without_attM = nn.Linear(a, b), nn.Linear(a, b)

    def forward(self, t: Tensor, s: Tensor, master: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        n = t.shape[1]
        x = self.drop(torch.cat([self.proj_type1(t), self.proj_type2(s)], dim=1))
        pairs = self.pairs(x)
        board = torch.zeros_like(pairs[..., :1])
        board[:, :n, :n] = pairs[:, :n, :n] @ self.att_weight11
        board[:, n:, n:] = pairs[:, n:, n:] @ self.att_weight22
        board[:, :n, n:] = pairs[:, :n, n:] @ self.att_weight12
        board[:, n:, :n] = pairs[:, n:, :n] @ self.att_weight12
        weights = torch.softmax(board / self.temperature, dim=-2).squeeze(-1)
        to_master = torch.tanh(self.att_projM(x * master)) @ self.att_weightM
        to_master = torch.softmax(to_master / self.temperature, dim=-2).transpose(1, 2)
        master = self.proj_with_attM(to_master @ x) + self.proj_without_attM(master)
        x = self.project(x, weights)
        return x[:, :n], x[:, n:], master


class Pool(nn.Module):
    def __init__(self, size: int, share: float) -> None:
        super().__init__()
        self.share, self.drop, self.proj = share, nn.Dropout(0.3), nn.Linear(size, 1)

    def forward(self, h: Tensor) -> Tensor:
        scores = torch.sigmoid(self.proj(self.drop(h)))
        _, places = torch.topk(scores, max(int(h.shape[1] * self.share), 1), dim=1)
        return torch.gather(h * scores, 1, places.expand(-1, -1, h.shape[2]))


class PlainAASIST(nn.Module):
    """(B, 64600) to the two logits (spoof, bona fide)."""

    def __init__(self, width: int = 64, shares: tuple[float, float, float] = (0.5, 0.7, 0.5)) -> None:
        super().__init__()
        self.register_buffer("bank", sinc_bank(), persistent=False)
        self.first_bn, self.selu = nn.BatchNorm2d(1), nn.SELU(inplace=True)
        sizes = [(1, 32), (32, 32), (32, width), *[(width, width)] * 3]
        self.encoder = nn.Sequential(*(nn.Sequential(Block(*size, i == 0)) for i, size in enumerate(sizes)))
        self.pos_S = nn.Parameter(torch.randn(1, 23, width))
        self.GAT_layer_S, self.GAT_layer_T = Attention(width, width, 2.0), Attention(width, width, 2.0)
        self.pool_S, self.pool_T = Pool(width, shares[0]), Pool(width, shares[1])
        for branch in "12":
            setattr(self, f"master{branch}", nn.Parameter(torch.randn(1, 1, width)))
            setattr(self, f"HtrgGAT_layer_ST{branch}1", MixedAttention(width, 32, 100.0))
            setattr(self, f"HtrgGAT_layer_ST{branch}2", MixedAttention(32, 32, 100.0))
            setattr(self, f"pool_hS{branch}", Pool(32, shares[2]))
            setattr(self, f"pool_hT{branch}", Pool(32, shares[2]))
        self.way, self.drop, self.out_layer = nn.Dropout(0.2), nn.Dropout(0.5), nn.Linear(160, 2)

    def branch(self, which: str, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        part = {
            name: getattr(self, name.format(which))
            for name in ("master{}", "HtrgGAT_layer_ST{}1", "HtrgGAT_layer_ST{}2", "pool_hS{}", "pool_hT{}")
        }
        t, s, m = part["HtrgGAT_layer_ST{}1"](t, s, part["master{}"].expand(len(t), -1, -1))
        s, t = part["pool_hS{}"](s), part["pool_hT{}"](t)
        t2, s2, m2 = part["HtrgGAT_layer_ST{}2"](t, s, m)
        return self.way(t + t2), self.way(s + s2), self.way(m + m2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv1d(x.unsqueeze(1), self.bank).unsqueeze(1)
        x = self.selu(self.first_bn(F.max_pool2d(x.abs(), (3, 3))))
        e = self.encoder(x)
        s = self.pool_S(self.GAT_layer_S(e.abs().max(dim=3).values.transpose(1, 2) + self.pos_S))
        t = self.pool_T(self.GAT_layer_T(e.abs().max(dim=2).values.transpose(1, 2)))
        t1, s1, m1 = self.branch("1", t, s)
        t2, s2, m2 = self.branch("2", t, s)
        t, s, m = torch.max(t1, t2), torch.max(s1, s2), torch.max(m1, m2)
        read = [t.abs().max(dim=1).values, t.mean(dim=1), s.abs().max(dim=1).values, s.mean(dim=1), m.squeeze(1)]
        return self.out_layer(self.drop(torch.cat(read, dim=1)))
