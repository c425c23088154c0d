"""Layers onto neurocores."""
