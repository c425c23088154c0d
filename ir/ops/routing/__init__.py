"""Linear ops without weights: they move values, or sum them."""
