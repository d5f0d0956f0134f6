"""The figures of cleanlab for the chances that review_flips.py wrote down.

It has an environment of its own:

  python -m venv cleanlab && cleanlab/bin/pip install cleanlab pandas
  cleanlab/bin/python experiments/review_cleanlab.py OUT

Two things are asked of it for the same chances. Its order, adjusted for how sure the network is of each class
(`get_label_quality_scores`, normalized margin), read at the number of labels that were changed; and its own
list (`find_label_issues`, confident learning, by default), which chooses its length itself.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores

ORDER = {"method": "normalized_margin", "adjust_pred_probs": True}


def figures(own, method):
    """Rows of one draw at one share."""
    given = own["given"].to_numpy()
    wrong = given != own["true"].to_numpy()
    p = own.filter(regex=rf"^{method}_\d+$").to_numpy()
    # Classes that no label names (the background) are none to cleanlab: the chances of the others are scaled.
    codes = np.unique(given)
    p = p[:, codes] / np.maximum(p[:, codes].sum(1, keepdims=True), 1e-9)
    labels = np.searchsorted(codes, given)
    quality = get_label_quality_scores(labels, p, **ORDER)
    first = np.argsort(quality, kind="stable")[: wrong.sum()]
    listed = find_label_issues(labels, p, n_jobs=1)
    common = {"chances": method, "labels": len(own), "changed": int(wrong.sum())}
    yield common | {"order": "cleanlab, adjusted margin", "hits": wrong[first].mean()}
    yield common | {
        "order": "cleanlab's own list", "hits": np.nan, "listed": int(listed.sum()),
        "precision": wrong[listed].mean() if listed.any() else np.nan, "recall": listed[wrong].mean(),
    }  # fmt: skip


if __name__ == "__main__":
    out = Path(sys.argv[1])
    records = [
        {"share": share, "draw": draw, **record}
        for (share, draw), own in pd.read_csv(out / "chances.csv").groupby(["share", "draw"])
        for method in ("review", "classifier")
        for record in figures(own, method)
    ]
    pd.DataFrame(records).to_csv(out / "cleanlab.csv", index=False, float_format="%.4f")
