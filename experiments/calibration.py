"""What is a temperature worth on real data?

  python experiments/calibration.py run DATA OUT SWEEP   # the runs of a finished sweep; goes on
  python experiments/calibration.py table OUT

Each run of SWEEP (`l2s sweep ... --out SWEEP`) whose network is still there is copied, evaluated on test,
given a temperature fitted on validation (`l2s calibrate`), and evaluated again. OUT/rows.csv has a row a run;
`table` makes OUT/calibration.md of it. The sweep chose its networks on the same validation masks.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import pandas as pd

FIGURES = ("ece", "brier", "nll")
NAMES = {"ece": "calibration error", "brier": "Brier score", "nll": "NLL, nats"}


def measured(run, data):
    """A run's figures on test, as it is and with a temperature."""
    from l2s_jax import calibrate, evaluate

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        shutil.copytree(run, copy)
        options = {"allow_outside": True, "say": lambda line: None}
        row = {}
        for when in ("before", "after"):
            if when == "after":
                row["temperature"] = calibrate(copy, data, **options).temperature
            found = evaluate(copy, data, out=Path(folder) / when, **options)
            row |= {f"{name}_{when}": found["calibration"][name] for name in FIGURES}
            row[f"macro_f1_{when}"] = found["pooled"]["macro_f1"]
    return row


def run(data, out, sweep):
    """All runs of a sweep; what is finished is not done again."""
    from l2s_jax.system.jax_setup import set_up_jax

    set_up_jax(True)
    out, table = Path(out), Path(out) / "rows.csv"
    out.mkdir(parents=True, exist_ok=True)
    rows = pd.read_csv(table).to_dict("records") if table.exists() else []
    for known in pd.read_csv(Path(sweep) / "results.csv").itertuples():
        folder = Path(sweep) / "runs" / known.run
        if folder.exists() and known.run not in {row["run"] for row in rows}:
            cell = {name: getattr(known, name) for name in ("run", "variant", "percent", "draw")}
            rows.append(cell | measured(folder, data))
            pd.DataFrame(rows).round(6).to_csv(table, index=False, lineterminator="\n")
            print(rows[-1], flush=True)


def table(out):
    """The means over draws."""
    rows = pd.read_csv(Path(out) / "rows.csv")
    lines = [
        "On test, mean ± standard deviation (ddof 1) over draws, their number in brackets",
        "",
        "| method | temperature | " + " | ".join(f"{NAMES[one]}, before | after" for one in FIGURES) + " |",
        "|---|---" + "|---" * 6 + "|",
    ]  # fmt: skip
    for (variant, percent), own in rows.groupby(["variant", "percent"]):
        columns = ["temperature", *(f"{one}_{when}" for one in FIGURES for when in ("before", "after"))]
        cells = [f"{own[name].mean():.3f} ± {own[name].std(ddof=1):.3f} ({len(own)})" for name in columns]
        lines.append(f"| {variant}, {percent:g}% | " + " | ".join(cells) + " |")
    lines.append("")
    for (variant, percent), own in rows.groupby(["variant", "percent"]):
        better = [int((own[f"{one}_after"] < own[f"{one}_before"]).sum()) for one in FIGURES]
        said = ", ".join(f"{NAMES[one]} {n} of {len(own)}" for one, n in zip(FIGURES, better, strict=True))
        lines.append(f"- {variant}, {percent:g}%: better after than before: {said}")
    text = "\n".join(lines) + "\n"
    Path(out, "calibration.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    {"run": run, "table": table}[sys.argv[1]](*sys.argv[2:])
