"""What is known of a compiled network, and the page and pictures that show it."""
