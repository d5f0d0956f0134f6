"""The data contract: manifest, its check, pictures, subsets and batches, in NumPy."""
