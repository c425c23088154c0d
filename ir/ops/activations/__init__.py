"""Nonlinear ops of the ann stage."""
