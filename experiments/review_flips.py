"""How well does `l2s review` find labels that were changed on purpose?

  python experiments/review_flips.py run DATA OUT [STEPS]   # 3 networks for each draw and share; goes on
  python experiments/review_flips.py table OUT              # tables of what `run` and review_cleanlab.py made

Of a data set whose patches all have mask and label, a fifth of the masks is kept (of each class alike), and
of the patches without one a share gets the label of another class. Networks are trained on three folds of
that, wrong labels included, and every label is judged by those that have not learned from its group. The same
draw has the same masks and folds at each share, and a larger share changes what a smaller one does and more.

`chances.csv` has a row for each label of a patch without a mask: what it is, what it was, and the chances of
each class by `review` and by the classifiers alone. All figures are made from it.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

SHARES = (10, 20, 5)
DRAWS = (0, 1, 2)
FOLDS = 3
MASKS = 0.2
FIRST = ("review", "1 - p of the label")
"""How `review` sorts."""
STEPS, BATCH = 120, 16
"""Of a network: steps where nobody says, and patches a step."""


def changed(rows, share, draw):
    """Rows with a part of the masks and some labels changed, and the true label of each by line."""
    rng = np.random.default_rng(draw)
    labels = np.array([row.label for row in rows])
    masked = np.zeros(len(rows), bool)
    for label in np.unique(labels):
        own = np.flatnonzero((labels == label) & [row.mask is not None for row in rows])
        masked[rng.permutation(own)[: round(MASKS * len(own))]] = True
    bare = rng.permutation(np.flatnonzero(~masked))
    others = {row: rng.permutation([one for one in np.unique(labels) if one != labels[row]]) for row in bare}
    flipped = set(bare[: round(share / 100 * len(bare))].tolist())
    new = [
        replace(
            row,
            mask=row.mask if masked[k] else None,
            label=int(others[k][0]) if k in flipped else row.label,
            allowed=(),
        )
        for k, row in enumerate(rows)
    ]
    return new, {one.line: row.label for one, row in zip(new, rows, strict=True)}


def run_one(contents, share, draw, steps, folder, table):
    """Trains on one draw at one share, and writes down the chances of its labels."""
    from l2s_jax import PRESETS, train
    from l2s_jax.data.manifest import read_manifest, write_classes, write_patches
    from l2s_jax.prediction.review.review import review
    from l2s_jax.prepare.folds import prepare_folds

    rows, _ = changed(contents.patches, share, draw)
    write_classes(folder / "data", contents.classes)
    write_patches(folder / "data", contents.classes, rows)
    prepare_folds(folder / "data", folder / "folds", FOLDS, seed=draw, allow_outside=True)
    config = replace(
        PRESETS["labelset"], setting="S+C*", percent=100, weights="random", learning_rate=1e-3, steps=steps,
        batch_size=BATCH, validate_steps=60, draw=draw, seed=draw,
    )  # fmt: skip
    runs = [folder / f"run{fold}" for fold in range(1, FOLDS + 1)]
    for fold, run in enumerate(runs, 1):
        train(folder / "folds" / f"fold{fold}", run, config, resume=run.exists(), allow_outside=True)
    found = review(folder / "data", runs, folder / "review", allow_outside=True)
    original = {row.image.resolve(): row.label for row in contents.patches}
    named = {row.line: row for row in read_manifest(folder / "data", allow_outside=True).patches}
    records = []
    for one in found:
        if one.kind != "label" or named[one.row.line].mask is not None:
            continue
        true = original[one.row.image.resolve()]
        record = {"share": share, "draw": draw, "image": one.row.image.name, "group": one.row.group}
        record |= {"given": one.row.label, "true": true, "members": one.members}
        record |= {f"review_{code}": round(float(p), 5) for code, p in enumerate(one.doubt.chances)}
        record |= {f"classifier_{code}": round(float(p), 5) for code, p in enumerate(one.classifier)}
        records.append(record)
    pd.DataFrame(records).to_csv(table, index=False)


def run(data, out, steps=STEPS):
    """All draws at all shares; what is finished is not done again."""
    from l2s_jax.data.manifest import read_manifest
    from l2s_jax.system.jax_setup import set_up_jax

    set_up_jax(True)
    contents, out = read_manifest(Path(data).resolve()), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    parts = []
    for share in SHARES:
        for draw in DRAWS:
            parts.append(out / f"chances_{share}_{draw}.csv")
            if not parts[-1].exists():
                run_one(contents, share, draw, int(steps), out / f"work_{share}_{draw}", parts[-1])
            print(f"draw {draw}, {share}%: done", flush=True)
    pd.concat(map(pd.read_csv, parts)).to_csv(out / "chances.csv", index=False)


def at_the_number_changed(suspicion, wrong):
    """Share of the changed labels among as many of the most suspicious: precision and recall at once."""
    first = np.argsort(-suspicion, kind="stable")[: wrong.sum()]
    return wrong[first].mean()


def figures(chances):
    """A row for each draw, share and method."""
    records = []
    for (share, draw), own in chances.groupby(["share", "draw"]):
        wrong = (own["given"] != own["true"]).to_numpy()
        for method in ("review", "classifier"):
            p = own.filter(regex=rf"^{method}_\d+$").to_numpy()
            given = p[np.arange(len(own)), own["given"]]
            records.append({
                "share": share, "draw": draw, "chances": method, "order": "1 - p of the label",
                "labels": len(own), "changed": int(wrong.sum()),
                "accuracy": (p.argmax(1) == own["true"]).mean(),
                "hits": at_the_number_changed(1 - given, wrong),
            })  # fmt: skip
    return pd.DataFrame(records)


def _spread(values):
    """Mean, standard deviation (ddof 1) and n, in percent."""
    return f"{100 * values.mean():.1f} ± {100 * values.std(ddof=1):.1f} ({len(values)})"


def table(out):
    """flips.csv, a row a draw, and flips.md, their means."""
    out = Path(out)
    rows = figures(pd.read_csv(out / "chances.csv"))
    if (out / "cleanlab.csv").exists():
        rows = pd.concat([rows, pd.read_csv(out / "cleanlab.csv")])
    rows.to_csv(out / "flips.csv", index=False, float_format="%.4f")
    own_list = rows["order"] == "cleanlab's own list"
    shares = sorted(rows["share"].unique())
    lines = ["| chances | order | " + " | ".join(f"{share}% changed" for share in shares) + " |"]
    lines.append("|---|---|" + "---|" * len(shares))
    for (chances, order), own in rows[~own_list].groupby(["chances", "order"], sort=False):
        cells = [_spread(own.loc[own["share"] == share, "hits"]) for share in shares]
        lines.append(f"| {chances} | {order} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "cleanlab's own list",
        "",
        "| chances | changed | listed | precision | recall |",
        "|" + "---|" * 5,
    ]
    for (chances, share), own in rows[own_list].groupby(["chances", "share"], sort=False):
        cells = (
            f"{own['listed'].mean():.0f} of {own['labels'].mean():.0f}",
            *map(_spread, (own["precision"], own["recall"])),
        )
        lines.append(f"| {chances} | {share}% | " + " | ".join(cells) + " |")
    lines += ["", "Points more than that of `review` by 1 - p, draw by draw", ""]
    hits = rows[~own_list].pivot_table("hits", ["share", "draw"], ["chances", "order"])
    for chances, order in hits.columns[hits.columns != FIRST]:
        more = (hits[(chances, order)] - hits[FIRST]).groupby("share")
        lines += [f"- {chances}, {order}, {share}%: {_spread(values)}" for share, values in more]
    accuracy = rows.dropna(subset="accuracy").groupby(["chances", "share"])["accuracy"]
    lines += ["", "Share of labels whose likeliest class is the true one", ""]
    lines += [f"- {chances}, {share}%: {_spread(values)}" for (chances, share), values in accuracy]
    (out / "flips.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    {"run": run, "table": table}[sys.argv[1]](*sys.argv[2:])
