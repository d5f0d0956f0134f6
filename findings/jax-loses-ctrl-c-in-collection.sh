#!/usr/bin/env bash
# Guess: Ctrl-C in a Python program that has imported JAX raises KeyboardInterrupt, and the program ends.
# What happens: JAX puts a Python function among the callbacks of Python's garbage collector. A signal that came
#   while the collector worked is answered in that function, from which Python can hand nothing on: it prints
#   "Exception ignored in" and the program goes on. Without JAX the same signals all arrive.
# Why it matters here: a job that seems deaf to Ctrl-C or to a handler that raises goes on computing, and a loop
#   that stops on KeyboardInterrupt alone may never stop.
# Seen: 2026-11-29, jax 0.10.2 on Python 3.11.7 (SIGALRM with Ctrl-C's handler stands for the key).
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'jax==0.10.2' 'jaxlib==0.10.2' 'numpy==2.4.6'
seen <<'TEXT'
without JAX: 40 of 40 signals arrived
with JAX: fewer than half of 40 signals arrived
TEXT
observe <<'PYTHON'
import gc
import signal
import sys

signal.signal(signal.SIGALRM, signal.default_int_handler)
sys.unraisablehook = lambda unraisable: lost.append(unraisable.exc_type)
kept = [[number] for number in range(300_000)]  # the collector has something to look at
gc.disable()


def arrived(signals):
    count = 0
    for _ in range(signals):
        lost.clear()
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.003)
            while not lost:
                gc.collect()
        except KeyboardInterrupt:
            count += 1
    return count


lost = []
print(f"without JAX: {arrived(40)} of 40 signals arrived")
import jax

count = arrived(40)
print("with JAX:", "fewer than half" if count < 20 else count, "of 40 signals arrived")
PYTHON
