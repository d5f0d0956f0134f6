"""How pictures for people look: overlays, curves, SVG, the offline page; reports draw charts with it."""
