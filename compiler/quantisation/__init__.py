"""From real numbers to integers, and the proof that they fit."""
