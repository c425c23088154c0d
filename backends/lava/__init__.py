"""Intel Lava."""
