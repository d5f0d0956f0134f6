"""Gigapixel slides: reading, scale, tissue, annotations and OME-TIFF, in NumPy."""
