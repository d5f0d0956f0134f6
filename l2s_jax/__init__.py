"""Learn to segment histology from a few pixel masks and many image-level labels."""

__version__ = "0.1.0"
