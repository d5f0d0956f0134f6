"""A trained network on pictures and slides, and how good it is."""
