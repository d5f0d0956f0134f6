"""Pictures for people: overlays, charts, SVG and the page that opens offline."""
