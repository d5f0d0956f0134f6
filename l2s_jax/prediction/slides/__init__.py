"""Whole slides: tiles over tissue at a stated scale, in bounded memory, and their figures."""
