"""Sharpness-aware steps: the options, the step, the perturbation, and the replay of a forward pass."""
