"""`compare`: do the labels help on this data? S beside recipes that learn from labels too, draw by draw."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from l2s_jax.config import PRESETS
from l2s_jax.data.folds import fold_name, has_folds
from l2s_jax.data.manifest import Manifest, read_manifest
from l2s_jax.figures.svg import svg_of
from l2s_jax.reports.comparison import (
    comparison_sentences,
    draw_comparison,
    minus_baseline,
    seconds_by_method,
)
from l2s_jax.reports.curves import look_of
from l2s_jax.reports.differences import paired_differences
from l2s_jax.reports.names import FOLD
from l2s_jax.reports.reading import read_results
from l2s_jax.sweeps.sweep import sweep
from l2s_jax.sweeps.sweep_file import sweep_of
from l2s_jax.system.csv_text import table_text
from l2s_jax.system.errors import UserError
from l2s_jax.system.files import write_text
from l2s_jax.system.outputs import publishing, require_replaceable, source_of
from l2s_jax.types import IGNORE_LABEL

Recipe = Literal["paper", "labelset", "few-masks"]
FOLDER = "comparison"
TABLE, FIGURE, SENTENCES = "comparison.csv", "comparison.svg", "comparison.txt"
BASELINE = ("S", "S")
METRIC = "macro_f1"


def compare(
    manifest: str | Path,
    out: str | Path = "runs/compare",
    *,
    recipes: Sequence[Recipe] = ("labelset", "few-masks"),
    draws: int = 3,
    percent: float = 100.0,
    steps: int = 400,
    weights: str = "auto",
    learning_rate: float = PRESETS["few-masks"].learning_rate,
    dry_run: bool = False,
    jobs: int = 1,
    allow_outside: bool = False,
    say: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Trains S and recipes that learn from labels too, and says by how much they differ on the test split.

    It is a sweep: started again after a kill it goes on, and `l2s report OUT` shows all of it. All recipes
    take the same options and `steps` a phase; how much longer one takes is said beside its gain. Draws are
    networks of other seeds on the same masks, or on other draws of them where `percent` is below 100.

    Args:
      manifest: folder of a manifest, or of folds.
      out: folder of the sweep; results go to `comparison` in it.
      recipes: presets that are compared with S, by their setting S+C*: all labels that there are.
      draws: how many; an interval needs 2, and is wide below 5.
      percent: of the training masks that are used; the others count as labels.
      steps: of each phase of each run.
      weights: initial ones, as in `train`.
      learning_rate: of all runs.
      dry_run: say how long it would take, and train nothing.
      jobs: runs at a time; see `sweep`.
      allow_outside: accept paths in the manifest that lead out of its folder.
      say: receives progress messages.

    Returns:
      One row a recipe, with the columns of `reports.differences.paired_differences`; none after a dry run.

    Raises:
      UserError: nothing to compare: no labels beside the masks, no masks in the test split; or a faulty
        option, manifest or folder.
      RunsFailed: after everything else has been run, runs that failed.
      Stopped: interrupted; started again with the same options, it goes on.
    """
    out = Path(out)
    if draws < 1:
        raise UserError(f"draws = {draws}: expected 1 or more, and 2 at least for an interval")
    if not recipes or len(set(recipes)) < len(recipes):
        raise UserError(f"recipes = {', '.join(recipes) or 'none'}: expected one or more, each once")
    folder = Path(manifest)
    first = folder / fold_name(1) if has_folds(folder) else folder
    require_labels(read_manifest(first, allow_outside=allow_outside), percent)
    options = {
        "weights": weights,
        "learning_rate": learning_rate,
        "decoder": PRESETS["few-masks"].decoder,  # S's too: labels are to make the difference
        "steps": steps,
        "validate_steps": PRESETS["few-masks"].validate_steps,
    }
    variants = [{"name": "S", "settings": ["S"]}]
    variants += [{"name": recipe, "preset": recipe, "settings": ["S+C*"]} for recipe in recipes]
    table = {"name": "compare", "draws": draws, "percents": [percent], "options": options}
    experiment = sweep_of(table | {"variant": variants}, Path("l2s compare"))
    say(f"S and {', '.join(recipes)}, {draws} draw{'s' if draws > 1 else ''}:")
    sweep(
        experiment,
        out,
        manifest=folder,
        dry_run=dry_run,
        say_time=True,
        jobs=jobs,
        allow_outside=allow_outside,
        say=say,
    )
    if dry_run:
        return pd.DataFrame()
    found = read_results(out).cells
    asked = found["variant"].isin(["S", *recipes]) & (found["percent"] == percent) & (found["draw"] < draws)
    return _compared(found[asked], out, say)


def require_labels(manifest: Manifest, percent: float) -> None:
    """Refuses data on which labels cannot be compared with none.

    Raises:
      UserError: saying what is missing.
    """
    train, test = manifest.of_split("train"), manifest.of_split("test")
    if not any(row.mask is not None for row in test):
        raise UserError(
            f"{manifest.folder}: no patch of the split test has a mask, so there is nothing to measure on"
        )
    if not any(row.mask is not None for row in train):
        raise UserError(f"{manifest.folder}: no patch of the split train has a mask, so S cannot be trained")
    labelled = any(row.mask is None and (row.label != IGNORE_LABEL or row.allowed) for row in train)
    if not labelled and percent >= 100:
        raise UserError(
            f"{manifest.folder}: every training patch has a mask, so labels can add nothing. With --percent "
            "10 a tenth of the masks is used, and the others count as labels"
        )


def _compared(cells: pd.DataFrame, out: Path, say: Callable[[str], None]) -> pd.DataFrame:
    """What came out: written down, said, and returned."""
    folder, unit = out / FOLDER, FOLD if FOLD in cells else "draw"
    sources = (source_of(out, outputs=folder),)
    require_replaceable(folder, (TABLE, FIGURE, SENTENCES), sources)
    differences = paired_differences(cells, "segmentation", [METRIC], against=[BASELINE])
    rows = minus_baseline(differences, BASELINE)
    if rows.empty:
        raise UserError(f"no recipe uses a label here, so each is S itself. l2s report {out} shows its runs")
    sentences = comparison_sentences(rows, seconds_by_method(cells), unit)
    with publishing(folder, sources) as stage:
        write_text(stage / TABLE, table_text(rows))
        write_text(stage / SENTENCES, "".join(f"{line}\n" for line in sentences))
        write_text(stage / FIGURE, svg_of(draw_comparison(rows, look_of(cells), unit)))
    for line in sentences:
        say(line)
    say(
        f"The interval is over {unit}s, not over patients: those of another hospital can differ by more. "
        f"Written to {folder}; all of it: l2s report {out}"
    )
    return rows
