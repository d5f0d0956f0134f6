"""How pictures for people look: overlays, curves, SVG, the page that opens offline; reports draw charts with it."""
