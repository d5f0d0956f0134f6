"""Does it matter which patches are drawn next? From 3 masks to 7 and 14, by each way `l2s suggest` knows.

  python experiments/suggest_curve.py run DATA OUT DRAW...      # S; goes on where it was
  python experiments/suggest_curve.py recipe DATA OUT DRAW...   # few-masks on the masks that `run` chose
  python experiments/suggest_curve.py table [OUT...]            # tables of what was run

DATA is a manifest whose training patches all have mask and label (`l2s prepare ebhi EBHI-SEG DATA`). Each
draw begins with the 3 masks that S has at that draw in the other experiments (class-stratified). Networks of
S are trained on them, one a seed; each way of choosing lists 4 more with these networks, whose masks are then
given; networks are trained on the 7, list 7 more, and are trained on the 14. All ways of a draw share the
first networks, and the seeds. The score is macro F1 on test, pooled over pixels, the mean over seeds.

OUT/rows.jsonl has a line for each set of masks: recipe, draw, way, the score of each seed, and which were
chosen. `table` puts the lines of several folders and of experiments/results/suggest together, and writes
there. Two ways are compared on the draws that both of them have.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import stats

WAYS = ("stratified", "random", "disagreement", "coverage", "change")
START, STAGES = 3, (7, 14)
SEEDS = {"S": 2, "few-masks": 1}
"""Networks a set of masks. One of few-masks is three, and a second draw tells more than a second network."""
SHARED = {"percent": 100.0, "weights": "random", "learning_rate": 3e-4, "steps": 150, "validate_steps": 75}
RECIPES = {"S": ("paper", {"setting": "S"}), "few-masks": ("few-masks", {"setting": "S+C*"})}
"""A preset, and the options in which a recipe is not that."""
RESULTS = Path(__file__).with_name("results") / "suggest"


def first_masks(rows, draw):
    """Indices of the first masks, as S has them at a draw."""
    from l2s_jax.data.subsets import stratified_order

    order = stratified_order(np.array([row.label for row in rows]), (draw, 0))
    return sorted(order[:START].tolist())


def write_manifest(contents, masked, folder):
    """The manifest of which only some training patches have a mask; val and test are as they were."""
    from l2s_jax.data.manifest import write_classes, write_patches

    train = contents.of_split("train")
    kept = {train[index].line for index in masked}
    rows = [
        row if row.split != "train" or row.line in kept else replace(row, mask=None)
        for row in contents.patches
    ]
    write_classes(folder, contents.classes)
    write_patches(folder, contents.classes, rows)


def seeds_of(draw, recipe):
    """No two draws share a seed."""
    first = max(SEEDS.values()) * draw
    return range(first, first + SEEDS[recipe])


def trained_on(contents, masked, folder, draw, recipe):
    """Trains a network a seed on some masks, or finds them trained; their scores on test."""
    from l2s_jax import PRESETS, train_many
    from l2s_jax.data.pictures import read_image, read_mask
    from l2s_jax.prediction.judging import Picture, judge, pooled_matrix
    from l2s_jax.prediction.metrics import summary
    from l2s_jax.prediction.predictor import load_predictor

    if not (folder / "data" / "patches.csv").exists():
        write_manifest(contents, masked, folder / "data")
    preset, own = RECIPES[recipe]
    runs = train_many(
        folder / "data", folder / "runs", replace(PRESETS[preset], **SHARED, **own), seeds_of(draw, recipe),
        strategy="unroll", allow_outside=True, resume=(folder / "runs").exists(), say=lambda line: None,
    )  # fmt: skip
    pictures = [
        Picture(row, read_image(row.image), read_mask(row.mask, contents.classes))
        for row in contents.of_split("test")
    ]
    scores = []
    for run in runs:
        network = load_predictor(run, None, "gaussian", 20)
        judged = list(judge(network.forward, pictures, len(contents.classes), network.tiling))
        scores.append(round(summary(pooled_matrix(judged, len(contents.classes)))["macro_f1"], 5))
    return scores


def listed(contents, folder, way, number, draw):
    """Indices of the training patches that `l2s suggest` lists."""
    from l2s_jax import suggest

    runs = [folder / "runs" / f"seed{seed}" for seed in seeds_of(draw, "S")]
    found = suggest(
        folder / "data", runs, by=way, number=number, seed=draw, allow_outside=True, say=lambda line: None
    )
    place = {row.image.resolve(): index for index, row in enumerate(contents.of_split("train"))}
    return [place[one.candidate.place.image.resolve()] for one in found]


def note(out, contents, draw, by, masked, recipe, scores):
    """Adds a line; what it holds."""
    train = contents.of_split("train")
    labels = np.bincount([train[index].label for index in masked], minlength=len(contents.classes))
    row = {
        "recipe": recipe, "draw": draw, "by": by, "masks": len(masked), "macro_f1": scores,
        "seeds": list(seeds_of(draw, recipe)), "chosen": masked, "labels": labels.tolist(),
        "groups": len({train[index].group for index in masked}), "options": SHARED | RECIPES[recipe][1],
        "patch": read_image_side(train[0].image), "manifest": contents.sha256,
    }  # fmt: skip
    with (out / "rows.jsonl").open("a+") as file:
        file.seek(0)
        cut_off = not file.read().endswith("\n") and file.tell()  # by a kill: that line is passed over
        file.write(("\n" if cut_off else "") + json.dumps(row) + "\n")
    print(f"{recipe}, draw {draw}, {by}, {len(masked)} masks: {scores}", flush=True)
    return row


def read_image_side(path):
    """Pixels a side of a patch."""
    from l2s_jax.data.pictures import picture_size

    return picture_size(path)[0]


def run_draw(contents, draw, out):
    """All ways from the first masks of a draw on; what is finished is not done again."""
    done = {
        (row["by"], row["masks"]): row
        for row in read_rows(out)
        if row["draw"] == draw and row["recipe"] == "S"
    }

    def reach(by, masked, folder):
        """Trains on some masks unless it was done and nothing more is chosen by those networks."""
        known = done.get((by, len(masked)))
        if known is None or len(masked) < STAGES[-1]:
            scores = trained_on(contents, masked, folder, draw, "S")
            if known is None:
                done[by, len(masked)] = note(out, contents, draw, by, masked, "S", scores)

    work = out / f"draw{draw}"
    left = [way for way in WAYS if (way, STAGES[-1]) not in done]
    first = first_masks(contents.of_split("train"), draw)
    if left:
        reach("start", first, work / "start")
    for way in left:
        masked, folder = first, work / "start"
        for stage in STAGES:
            known = done.get((way, stage))
            if known is not None:
                masked = known["chosen"]
            else:
                masked = [*masked, *listed(contents, folder, way, stage - len(masked), draw)]
            folder = work / way / str(stage)
            reach(way, masked, folder)
        shutil.rmtree(work / way)
    shutil.rmtree(work, ignore_errors=True)


def recipe_draw(contents, draw, out):
    """The recipe few-masks on the masks that were chosen with S."""
    rows = [row for row in read_rows(out) if row["draw"] == draw]
    done = {(row["by"], row["masks"]) for row in rows if row["recipe"] == "few-masks"}
    for row in (row for row in rows if row["recipe"] == "S" and (row["by"], row["masks"]) not in done):
        folder = out / f"draw{draw}_few" / f"{row['by']}{row['masks']}"
        scores = trained_on(contents, row["chosen"], folder, draw, "few-masks")
        note(out, contents, draw, row["by"], row["chosen"], "few-masks", scores)
        shutil.rmtree(folder)


def read_rows(folder):
    """The lines of a folder; one that was cut off is passed over."""
    path, rows = Path(folder) / "rows.jsonl", []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def go(one_draw, data, out, *draws):
    """Some draws, one after the other."""
    from l2s_jax.data.manifest import read_manifest
    from l2s_jax.system.jax_setup import set_up_jax

    set_up_jax(True)
    Path(out).mkdir(parents=True, exist_ok=True)
    contents = read_manifest(Path(data).resolve())
    for draw in map(int, draws):
        one_draw(contents, draw, Path(out))


def half_width(values):
    """Of the 95% interval of Student's t for the mean of two draws or more."""
    return stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))


def interval(values):
    """Mean and 95% interval over draws, as text; and n."""
    n = len(values)
    if n < 2:
        return f"{values.mean():+.1f}, n = 1" if n else ""
    mean, half = values.mean(), half_width(values)
    return f"{mean:+.1f} ({mean - half:+.1f} to {mean + half:+.1f}), n = {n}"


def spread(values):
    """Mean, standard deviation (ddof 1) and n, in percent."""
    if not len(values):
        return ""
    values = 100 * np.asarray(values)
    deviation = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{deviation} ({len(values)})"


def more_points(rows, way, other, stages):
    """How much more one way scores than another, points: the mean of some stages, by draw that has them."""
    score = {(row["draw"], row["by"], row["masks"]): 100 * float(np.mean(row["macro_f1"])) for row in rows}
    draws = sorted({draw for draw, *_ in score})
    return np.array(
        [
            np.mean([score[draw, way, stage] - score[draw, other, stage] for stage in stages])
            for draw in draws
            if all((draw, one, stage) in score for one in (way, other) for stage in stages)
        ]
    )


def tables(rows):
    """The text of curve.md, of one recipe."""
    own = {(row["draw"], row["by"], row["masks"]): row for row in rows}
    score = {key: float(np.mean(row["macro_f1"])) for key, row in own.items()}
    draws = sorted({row["draw"] for row in rows})

    def table(first, columns, cells_of, ways):
        lines = ["", f"| {first} | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
        return lines + [f"| {way} | {' | '.join(cells_of(way))} |" for way in ways]

    def scores(way):
        first = [
            score[d, "start", START]
            for d in draws
            if (d, way, STAGES[0]) in own and (d, "start", START) in own
        ]
        after = ([score[d, way, stage] for d in draws if (d, way, stage) in own] for stage in STAGES)
        return [spread(first), *map(spread, after)]

    def more_than(other):
        every = [*((stage,) for stage in STAGES), STAGES]
        return lambda way: [interval(more_points(rows, way, other, stages)) for stages in every]

    def groups(way):
        found = ([own[d, way, stage]["groups"] for d in draws if (d, way, stage) in own] for stage in STAGES)
        return [f"{np.mean(one):.1f}" if one else "" for one in found]

    stages = [f"{stage} masks" for stage in STAGES]
    lines = [
        "Macro F1 on test, percent: mean ± standard deviation (ddof 1) over draws, their number in brackets"
    ]
    lines += table("chosen by", [f"{START} masks", *stages], scores, WAYS)
    for other in ("stratified", "random"):
        lines += [
            "",
            f"Points more than {other}, draw by draw: mean and 95% interval of Student's t over draws",
        ]
        rest = [way for way in WAYS if way != other]
        lines += table("chosen by", [*stages, "mean of both"], more_than(other), rest)
    lines += ["", "Slide groups of the masks, mean over draws"]
    return lines + table("chosen by", stages, groups, WAYS)


def figure(by_recipe):
    """An SVG: scores against masks, and differences from stratified with their intervals; a row a recipe."""
    from l2s_jax.figures.drawing import new_figure
    from l2s_jax.figures.svg import svg_of

    drawn = new_figure(8.2, 2.8 * len(by_recipe))
    panels = drawn.subplots(len(by_recipe), 2, squeeze=False)
    for (recipe, rows), (curve, forest) in zip(by_recipe.items(), panels, strict=True):
        for number, way in enumerate(WAYS):
            means = [
                100 * np.mean([np.mean(row["macro_f1"]) for row in rows if (row["by"], row["masks"]) == key])
                for key in (("start", START), *((way, stage) for stage in STAGES))
            ]
            curve.plot([START, *STAGES], means, ".-", color=f"C{number}", label=way)
            draws = more_points(rows, way, "stratified", STAGES)
            if way == "stratified" or len(draws) < 2:
                continue
            forest.plot(draws, np.full(len(draws), -number), ".", color="0.6")
            forest.errorbar(
                draws.mean(), -number, xerr=half_width(draws), fmt="o", color=f"C{number}", capsize=3
            )
        curve.set(ylabel="macro F1 on test, %", xlabel="masks", xticks=[START, *STAGES])
        curve.set_title(recipe, fontsize=10)
        forest.axvline(0, color="black", linewidth=0.8)
        forest.set_yticks([-number for number in range(1, len(WAYS))], WAYS[1:])
        forest.set_xlabel("points more than stratified, both stages", fontsize=9)
        forest.set_title("each draw, their mean, its 95% interval", fontsize=10)
        for panel in (curve, forest):
            panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].legend(fontsize=8, frameon=False)
    return svg_of(drawn)


def table(*folders, results=RESULTS):
    """rows.jsonl, curve.md and curve.svg in the results, of all that was run."""
    found = {}
    for folder in (results, *folders):
        for row in read_rows(folder):
            found[row["recipe"], row["patch"], row["draw"], row["masks"], row["by"]] = row
    rows = [found[key] for key in sorted(found)]
    results.mkdir(parents=True, exist_ok=True)
    (results / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    by_recipe = {}
    for row in rows:
        by_recipe.setdefault(f"{row['recipe']}, patches of {row['patch']} pixels", []).append(row)
    text = "\n".join(line for name, own in by_recipe.items() for line in (f"# {name}", "", *tables(own), ""))
    (results / "curve.md").write_text(text)
    (results / "curve.svg").write_text(figure(by_recipe))
    print(text)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "table":
        table(*arguments)
    else:
        go({"run": run_draw, "recipe": recipe_draw}[command], *arguments)
