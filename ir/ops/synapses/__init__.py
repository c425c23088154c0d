"""Synapses: ops that multiply what arrives with weights."""
