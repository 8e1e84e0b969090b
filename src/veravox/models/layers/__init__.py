"""Layers that several front ends and experts share; nothing here is registered."""
