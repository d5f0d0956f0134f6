"""A trained network for other programs: weights by their known names, and StableHLO."""
