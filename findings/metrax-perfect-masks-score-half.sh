#!/usr/bin/env bash
# Guess: metrax's `IoU`, merged over the batches of a test set, is 1 for perfect masks and does not depend on the batches.
# What happens: it is the mean over batches of each batch's mean over classes, and a class that is neither in the truth
#   nor in the prediction of a batch counts there as 0. With a test set in the order of its classes, as folders
#   give it, perfect masks score 0.44; shuffled in batches of 12 masks of which a tenth is wrong score 0.76, in batches
#   of 2 perfect ones 0.56. One batch of all gives 1.00 and 0.78.
# Why it matters here: slides are read one after the other, and most patches hold one or two classes of many. The figure
#   then says how batches were put together, and networks measured with other batch sizes do not compare.
# Seen: 2026-12-01, google-metrax 0.2.4, jax 0.10.2, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'google-metrax==0.2.4' 'clu==0.0.12' 'flax==0.12.8' 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
seen <<'TEXT'
48 pictures a batch, by class: perfect masks 1.00, a tenth wrong 0.78
12 pictures a batch, by class: perfect masks 0.44, a tenth wrong 0.38
12 pictures a batch, shuffled: perfect masks 1.00, a tenth wrong 0.76
 2 pictures a batch, by class: perfect masks 0.44, a tenth wrong 0.38
 2 pictures a batch, shuffled: perfect masks 0.56, a tenth wrong 0.48
TEXT
observe <<'PYTHON'
import jax.numpy as jnp
import metrax
import numpy as np

CLASSES, OF_EACH = 4, 12
truth = np.zeros((CLASSES * OF_EACH, 10, 10), np.int32)  # half of each picture is of class 0, half of its own
truth[:, 5:] = np.repeat(np.arange(CLASSES), OF_EACH)[:, None, None]
wrong = truth.copy()
wrong[:, :, :1] = (truth[:, :, :1] + 1) % CLASSES  # a tenth of each half
orders = {"by class": np.arange(len(truth)), "shuffled": np.random.default_rng(0).permutation(len(truth))}


def iou(predicted, order, batch):
    total = metrax.IoU.empty()
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        total = total.merge(
            metrax.IoU.from_model_output(
                jnp.asarray(predicted[rows]), jnp.asarray(truth[rows]), CLASSES, jnp.arange(CLASSES)
            )
        )
    return float(total.compute())


for batch, names in ((len(truth), ["by class"]), (12, ["by class", "shuffled"]), (2, ["by class", "shuffled"])):
    for name in names:
        perfect, tenth = (iou(masks, orders[name], batch) for masks in (truth, wrong))
        print(f"{batch:2} pictures a batch, {name}: perfect masks {perfect:.2f}, a tenth wrong {tenth:.2f}")
PYTHON
