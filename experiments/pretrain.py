"""Does pretraining the encoder by contrast on a set's own pictures pay, at equal total wall time?

  python experiments/pretrain.py run DATA OUT --masks 3 7 --draws 0 1 2 --pretrain-steps N --steps M
  python experiments/pretrain.py table OUT                                # Markdown, of what was run

DATA is a manifest whose training patches all have mask and label (`l2s prepare ebhi EBHI-SEG DATA
--patch-size 64`). The encoder is that of `l2s pretrain DATA`: it sees the pictures of the training split, no
mask, label, or picture of another split. There is one encoder for all of OUT. For each draw and number of
masks `run` trains

  random      from random weights, M steps,
  pretrained  from the encoder, M steps,
  longer      from random weights, as many more steps as pretraining took time.

`--arms` names some of them: where pretraining takes an hour, `longer` takes one for each run.

The runs are those of a sweep, with its draws of masks, its selection on validation and its results.csv: a row
a run as it comes, none twice. M are the steps of each network, of which `few-masks` trains three from one
start; `longer` gives each as many more.

The time of pretraining is counted in full in `longer`, reading and compiling included, as for who trains one
network. Who trains several shares it. `table` has both sums; a comparison at the shared time lies between
`random`, where nothing is counted, and `longer`. A step of `random` is timed between two validations, one
included, as the median over them, so that its compiling does not count as steps. All of it has to run on one
machine with nothing else on it.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

ARMS = ("random", "pretrained", "longer")
RECIPES = {"S": ("paper", "S"), "few-masks": ("few-masks", "S+C")}
"""Preset and setting."""
SHARED = {"weights": "random", "learning_rate": 3e-4, "validate_steps": 40}
ENCODER, NOTE = "encoder.safetensors", "pretraining.json"
NUMBERS = ("draw", "n_mask", "steps", "seconds", "validation_score", "macro_f1")
"""Columns that the table is made of."""
RESULTS, ROWS, TABLE = "results.csv", "rows.csv", "pretrain.md"


def seconds_a_step(folder):
    """Of a finished run, its earlier phases included: what one more step of each network would take.

    Args:
      folder: of the run.

    Raises:
      UserError: it has no metrics.csv.
    """
    from l2s_jax.runs.folder import PHASES, read_metrics
    from l2s_jax.system.errors import UserError

    total = 0.0
    for part in (folder, *sorted((folder / PHASES).glob("*"))):
        rows = read_metrics(part)
        if not rows:
            raise UserError(f"{part} has no metrics.csv to time its steps by: remove its row and run again")
        judged = [row for row in rows if math.isfinite(row["val_score"])] or rows
        points = [(0.0, 0.0), *((row["step"], row["seconds"]) for row in judged)]
        took = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(points, points[1:], strict=False)]
        total += float(np.median(took[1:] or took))  # the first has the compiling in it
    return total


def equal_time_steps(steps, pretraining_s, step_s):
    """Steps that take as long as `steps` and the pretraining do; rounded up, in favour of random weights."""
    return steps + math.ceil(pretraining_s / step_s)


def sweep_of_arms(recipe, arms, masks, of, draw):
    """A sweep of one draw.

    Args:
      recipe: of `RECIPES`.
      arms: options of each, by its name.
      masks: how many of the training masks are used.
      of: how many there are.
      draw: of masks and seeds.
    """
    from l2s_jax.sweeps.sweep_file import sweep_of

    preset, setting = RECIPES[recipe]
    variants = [
        {"name": f"{recipe}_{arm}", "preset": preset, "settings": [setting], "options": options}
        for arm, options in arms.items()
    ]
    table = {"name": "pretrain", "draws": [draw], "percents": [100 * masks / of], "options": SHARED}
    return sweep_of(table | {"variant": variants}, Path("experiments/pretrain.py"))


def rows_of(out):
    """The rows of results.csv, or of rows.csv where only that was kept, with recipe and arm."""
    import pandas as pd

    from l2s_jax.system.csv_rows import complete_rows

    file = Path(out) / RESULTS
    rows = complete_rows(file if file.exists() else file.with_name(ROWS))[0]
    if not len(rows):
        return rows
    rows[["recipe", "arm"]] = rows["variant"].str.rsplit("_", n=1, expand=True)
    return rows.apply(lambda column: pd.to_numeric(column) if column.name in NUMBERS else column)


def row_of(out, recipe, arm, masks, draw):
    """One run's row; None where it is not finished."""
    rows = rows_of(out)
    if not len(rows):
        return None
    own = rows[(rows["variant"] == f"{recipe}_{arm}") & (rows["n_mask"] == masks) & (rows["draw"] == draw)]
    return own.iloc[-1] if len(own) else None


def run(data, out, masks, draws, pretraining, steps, recipes, arms=ARMS):
    """All that is not finished of the arms, draw by draw; `longer` is timed by `random`."""
    from l2s_jax import pretrain, sweep
    from l2s_jax.data.manifest import read_manifest
    from l2s_jax.runs.pretraining_note import read_pretraining
    from l2s_jax.system.errors import UserError
    from l2s_jax.system.files import read_json, write_json

    out, contents = Path(out).resolve(), read_manifest(data)  # the encoder's path is part of a run's name
    of = sum(row.mask is not None for row in contents.of_split("train"))
    if not all(0 < number < of for number in masks):
        raise UserError(f"masks = {masks}: some of the {of} training masks are wanted")
    before = read_json(out / NOTE)["steps_of_network"] if (out / NOTE).exists() else steps
    if before != steps:
        raise UserError(f"{out} was begun with --steps {before}, not {steps}: choose another folder")
    made = read_pretraining(pretrain([data], out / ENCODER, pretraining))
    note = made.how | {"groups": len(made.groups), "steps_of_network": steps}
    write_json(out / NOTE, note)
    for draw, recipe, number in ((d, r, n) for d in draws for r in recipes for n in masks):
        if all(row_of(out, recipe, arm, number, draw) is not None for arm in arms):
            continue
        short = {"random": {"steps": steps}, "pretrained": {"steps": steps, "weights": str(out / ENCODER)}}
        wanted = {arm: options for arm, options in short.items() if arm in arms}
        sweep(sweep_of_arms(recipe, wanted, number, of, draw), out, manifest=data)
        if "longer" not in arms:
            continue
        step_s = seconds_a_step(out / "runs" / row_of(out, recipe, "random", number, draw)["run"])
        longer = equal_time_steps(steps, note["seconds"], step_s)
        print(f"{note['seconds']:.0f} s of pretraining are {longer - steps} steps of {step_s:.3g} s")
        sweep(sweep_of_arms(recipe, {"longer": {"steps": longer}}, number, of, draw), out, manifest=data)
    return out


def spread(values, form=".1f"):
    """Mean, standard deviation (ddof 1) and n."""
    values = np.asarray(values, float)
    deviation = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():{form}}{deviation} ({len(values)})"


def table(out):
    """pretrain.md, of results.csv and pretraining.json; and rows.csv, from which it can be made again."""
    from l2s_jax.system.csv_text import table_text
    from l2s_jax.system.errors import UserError
    from l2s_jax.system.files import read_json, write_text

    out = Path(out)
    note, rows = read_json(out / NOTE), rows_of(out)
    if not len(rows):
        raise UserError(f"{out / RESULTS} holds no finished run")
    write_text(out / ROWS, table_text(rows, float_format="%.10g"))
    extra = np.where(rows["arm"] == "pretrained", note["seconds"], 0.0)
    uses = max((rows["arm"] == "pretrained").sum(), 1)
    rows = rows.assign(in_full=rows["seconds"] + extra, share=rows["seconds"] + extra / uses)
    lines = [
        f"Pretraining: {note['steps']:,} steps of {note['batch_size']} pictures, two views each, of "
        f"{note['windows']} training patches; {note['seconds']:.0f} s.",
        "Macro F1 in percent, mean ± standard deviation (ddof 1) over draws, their number in brackets. Steps",
        "of all networks of a run; seconds of a run, with pretraining in full, and with its share of "
        f"{uses} runs: means.",
        "",
        "| recipe | masks | weights | test | validation | steps | seconds | in full | shared |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for recipe, masks in rows[["recipe", "n_mask"]].drop_duplicates().itertuples(index=False):
        for arm in ARMS:
            own = rows[(rows["recipe"] == recipe) & (rows["n_mask"] == masks) & (rows["arm"] == arm)]
            if not len(own):
                continue
            scores = [spread(100 * own[name]) for name in ("macro_f1", "validation_score")]
            times = [f"{own[name].mean():.0f}" for name in ("steps", "seconds", "in_full", "share")]
            lines.append(f"| {' | '.join([recipe, str(masks), arm, *scores, *times])} |")
    lines += [
        "",
        "Points of macro F1 on test that `pretrained` has more, draw by draw",
        "",
        "| recipe | masks | than random | than longer |",
        "|---|---|---|---|",
    ]
    scores = 100 * rows.pivot_table("macro_f1", ["recipe", "n_mask", "draw"], "arm", sort=False)
    scores = scores.reindex(columns=ARMS)
    for (recipe, masks), own in scores.groupby(level=["recipe", "n_mask"], sort=False):
        cells = [more(own["pretrained"] - own[arm]) for arm in ("random", "longer")]
        lines.append(f"| {recipe} | {masks} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    write_text(out / TABLE, text)
    print(text, end="")


def more(differences):
    """Mean, spread and n of differences, and in how many draws they are above zero."""
    found = differences.dropna()
    if not len(found):
        return ""
    return f"{spread(found, '+.1f')}, above in {(found > 0).sum()} of {len(found)}"


def parser():
    """The words of the command."""
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = whole.add_subparsers(dest="command", required=True)
    study = commands.add_parser("run", help="the study")
    study.add_argument("data", help="folder of a manifest")
    study.add_argument("out", help="folder of the results")
    study.add_argument("--batch", type=int, default=64, help="pictures a step of pretraining (64)")
    study.add_argument("--seed", type=int, default=0, help="of pretraining (0)")
    study.add_argument("--pretrain-steps", type=int, required=True)
    study.add_argument("--steps", type=int, default=400, help="of each network (400)")
    study.add_argument("--masks", type=int, nargs="+", default=[3, 7])
    study.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    study.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), help="what is trained (all)")
    study.add_argument("--recipe", nargs="+", choices=list(RECIPES), default=["S"])
    commands.add_parser("table", help="of what was run").add_argument("out")
    return whole


def main(words=None):
    """Runs one of the commands."""
    whole = parser()
    asked = whole.parse_args(words)
    if asked.command == "run" and "longer" in asked.arms and "random" not in asked.arms:
        whole.error("--arms: longer is timed by random, so that it needs both")
    if asked.command == "table":
        table(asked.out)
        return
    from l2s_jax.system.jax_setup import set_up_jax

    set_up_jax(True)
    from l2s_jax.training.pretraining.options import PretrainOptions

    pretraining = PretrainOptions(steps=asked.pretrain_steps, batch_size=asked.batch, seed=asked.seed)
    found = asked.masks, asked.draws, pretraining, asked.steps, asked.recipe, asked.arms
    out = run(asked.data, asked.out, *found)
    table(out)


if __name__ == "__main__":
    from l2s_jax.system.errors import UserError

    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
