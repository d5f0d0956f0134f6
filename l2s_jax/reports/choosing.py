"""What of a results table a report is about: some of its draws, and methods that people name."""

import dataclasses
from collections.abc import Iterable

import pandas as pd

from l2s_jax.reports.names import Method, method_name
from l2s_jax.reports.reading import Results
from l2s_jax.system.errors import UserError


def of_draws(results: Results, draws: Iterable[int]) -> Results:
    """The results of some draws, with a note that the others are left out.

    Raises:
      UserError: a draw of which there is no run, listing those of which there are.
    """
    wanted = set(draws)
    known = sorted(set(results.runs["draw"]))
    absent = sorted(wanted - set(known))
    if absent:
        raise UserError(
            f"no finished run of draw {', '.join(map(str, absent))} in the results "
            f"(there are {', '.join(f'{draw:g}' for draw in known)})"
        )
    runs, cells, waiting = (
        table[table["draw"].isin(wanted)] for table in (results.runs, results.cells, results.waiting)
    )
    of_failures = pd.to_numeric(results.failures["draw"], errors="coerce")
    note = f"only draws {', '.join(map(str, sorted(wanted)))} are looked at, as was asked for"
    return dataclasses.replace(
        results, runs=runs, cells=cells, waiting=waiting, planned=len(cells) + len(waiting),
        failures=results.failures[of_failures.isin(wanted)], notes=(*results.notes, note),
    )  # fmt: skip


def named_methods(cells: pd.DataFrame, texts: Iterable[str]) -> list[Method]:
    """Methods by name, "VARIANT SETTING" as in a sweep file, or "SETTING" where there are no variants.

    Raises:
      UserError: a name that no cell has, listing those that some have.
    """
    pairs = cells[["variant", "setting"]].drop_duplicates().itertuples(index=False, name=None)
    known = {method_name(*pair): pair for pair in pairs}
    texts = list(texts)
    unknown = [text for text in texts if text not in known]
    if unknown:
        raise UserError(
            f"no method {', '.join(map(repr, unknown))} in the results "
            f"(there are {', '.join(map(repr, known))})"
        )
    return [known[text] for text in texts]
