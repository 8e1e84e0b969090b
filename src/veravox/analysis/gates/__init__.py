"""Analysis of gates: weights by condition and over time, agreement of experts, the oracle gate."""
