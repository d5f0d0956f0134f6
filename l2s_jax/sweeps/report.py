"""`report`: the results of a sweep as tables, figures and one page that opens offline."""

from collections.abc import Callable, Sequence
from pathlib import Path

from l2s_jax.reports.choosing import of_draws
from l2s_jax.reports.reading import read_results
from l2s_jax.reports.report_folder import PAGE, Samples, write_report
from l2s_jax.reports.summary import summary_notes
from l2s_jax.system.outputs import publishing, require_replaceable, source_of


def report(
    results: str | Path,
    *,
    out: str | Path | None = None,
    metrics: Sequence[str] | None = None,
    ddof: int | None = None,
    against: Sequence[str] = (),
    draws: Sequence[int] | None = None,
    pictures: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Writes tables (Markdown, CSV, LaTeX), figures (SVG) and `report.html`.

    Args:
      results: folder of a sweep, or a CSV file with the columns of `aggregation`.
      out: where they go; `RESULTS/report` by default.
      metrics: of tables and figures; macro and micro F1, or the classifier's figures, by default.
      ddof: of standard deviations; the sweep's by default, else 1.
      against: methods, as "VARIANT SETTING", from which all others are subtracted too, draw by draw.
      draws: those that are looked at; all by default.
      pictures: draw predictions where the run folders and the manifest are there; they show the data.
      say: receives progress messages.

    Returns:
      The path of report.html.

    Raises:
      UserError: results that cannot be read, no finished run, or an unknown metric, method or draw.
    """
    read = read_results(results)
    if draws is not None:
        read = of_draws(read, draws)
    folder = Path(out) if out is not None else read.folder / "report"
    sources = (source_of(results, outputs=folder),)
    require_replaceable(folder, (PAGE, "cells.csv"), sources)
    samples = Samples(reason="Pictures were not asked for.")
    if pictures:
        from l2s_jax.sweeps.predictions import sample_pictures

        samples = sample_pictures(read)
    used = read.ddof if ddof is None else ddof
    with publishing(folder, sources, last=(PAGE,)) as stage:
        write_report(read, stage, metrics, used, samples, against)
    path = folder / PAGE
    for note in summary_notes(read):
        say(f"note: {note}")
    say(f"{len(read.runs)} runs, {len(read.cells)} of {read.planned} planned cells: open {path}")
    return path
