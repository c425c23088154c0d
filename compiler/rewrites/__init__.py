"""Rewrites of the network before and after it spikes."""
