"""Activations become neurons, whose parameters are chosen on calibration data."""
