#!/usr/bin/env bash
# Guess: reading a TensorBoard log with TensorBoard's own EventAccumulator returns what was logged.
# What happens: by default it keeps a random sample of 10,000 scalars a curve, 4 pictures and 1 histogram. The
#   last point is always kept, the minimum or maximum need not be: the best epoch read from it can be another one.
#   `size_guidance={"scalars": 0}` keeps all.
# Why it matters here: curves of the method are logged by step; tables made from logs disagree with those that were
#   written while training.
# Seen: 2026-11-29, tensorboard 2.21.0 on a log by tensorboardX 2.6.5.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'tensorboard==2.21.0' 'tensorboardX==2.6.5' 'numpy==2.4.6'
seen <<'TEXT'
logged: 25000 scalars, 25 pictures, 25 histograms
read by default: 10000 scalars, 4 pictures, 1 histograms; up to 16 points in a row are missing
read with size_guidance 0: 25000 scalars
TEXT
observe <<'PYTHON'
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboardX import SummaryWriter

with SummaryWriter("log") as writer:
    for step in range(25000):
        writer.add_scalar("loss", step, step)
    for step in range(25):
        writer.add_image("mask", np.zeros((3, 4, 4), np.uint8), step)
        writer.add_histogram("weights", np.arange(10), step)
print("logged: 25000 scalars, 25 pictures, 25 histograms")
log = EventAccumulator("log").Reload()
steps = [event.step for event in log.Scalars("loss")]
print(
    f"read by default: {len(steps)} scalars, {len(log.Images('mask'))} pictures, "
    f"{len(log.Histograms('weights'))} histograms; up to {max(np.diff(steps)) - 1} points in a row are missing"
)
log = EventAccumulator("log", size_guidance={"scalars": 0}).Reload()
print(f"read with size_guidance 0: {len(log.Scalars('loss'))} scalars")
PYTHON
