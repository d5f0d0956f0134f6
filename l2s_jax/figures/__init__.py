"""How pictures for people look: overlays, curves, SVG, the offline page; reports draw their charts with it."""
