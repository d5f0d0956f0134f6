"""Macenko normalisation: what a fit is (NumPy) and its arithmetic (JAX)."""
