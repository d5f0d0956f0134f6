"""Files, slides and patches, in NumPy. Nothing here imports JAX or the model."""
