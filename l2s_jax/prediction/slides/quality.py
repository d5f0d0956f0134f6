"""quality.csv: a row a slide of what to look at before its prediction is believed."""

from pathlib import Path
from typing import Any

from l2s_jax.system.csv_rows import replace_row
from l2s_jax.system.outputs import begin_table

QUALITY = "quality.csv"
COLUMNS = ["slide", "tissue_share", "excluded_share", "ink_share", "sharpness", "stain_angle"]


def append_quality(path: Path, name: str, quality: dict[str, Any]) -> None:
    """Puts a slide's row (`slide_quality.quality_of`) into quality.csv, in place of an earlier one of it."""
    begin_table(path)
    rounded = {key: "" if value is None else round(value, 4) for key, value in quality.items()}
    replace_row(path, {"slide": name} | rounded, "slide")
