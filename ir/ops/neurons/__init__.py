"""Neurons: each file states all that is known of one, see `spikec.ir.neuron`."""
