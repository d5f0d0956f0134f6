"""Drawn regions: read from the formats of other tools, painted, traced and written back."""
