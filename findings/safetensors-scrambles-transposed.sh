#!/usr/bin/env bash
# Guess: what `safetensors.numpy.save_file` writes is what `load_file` reads, as with `np.save`; an array that it cannot
#   write raises, as the same package does for torch.
# What happens: it writes the array's memory as it lies, under the array's shape. A transposed view comes
#   back with the right shape and the same values, nearly all of them in other places. A copy in C order
#   is written right.
# Why it matters here: kernels are transposed on their way from flax to torch (height, width, in, out to out, in,
#   height, width), and the file is what others load. It loads without complaint and predicts nonsense. The docstring
#   asks for "contiguous" arrays, which the transpose of a matrix is, in Fortran's order.
# Seen: 2026-12-01, safetensors 0.8.0, numpy 2.4.6, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'safetensors==0.8.0' 'numpy==2.4.6'
seen <<'TEXT'
kernel: shape kept, values kept, 100% of them in another place
head: shape kept, values kept, 98% of them in another place
head, copied in C order: shape kept, values kept, 0% of them in another place
TEXT
observe <<'PYTHON'
import numpy as np
from safetensors.numpy import load_file, save_file

random = np.random.default_rng(0)
kernel = random.normal(size=(3, 3, 16, 32)).astype(np.float32)  # as flax has it
head = random.normal(size=(32, 4)).astype(np.float32)
written = {
    "kernel": np.transpose(kernel, (3, 2, 0, 1)),  # as torch has it
    "head": head.T,
    "head, copied in C order": np.ascontiguousarray(head.T),
}
for name, array in written.items():
    save_file({"weight": array}, "model.safetensors")
    read = load_file("model.safetensors")["weight"]
    same_values = np.array_equal(np.sort(read, axis=None), np.sort(array, axis=None))
    moved = 100 * (read != array).mean()
    print(f"{name}: shape {'kept' if read.shape == array.shape else 'lost'},", end=" ")
    print(f"values {'kept' if same_values else 'lost'}, {moved:.0f}% of them in another place")
PYTHON
