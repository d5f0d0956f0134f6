#!/usr/bin/env bash
# Guess: scikit-learn's quadratic kappa weighs an error by the square of how many grades it is off.
# What happens: it counts places in the sorted list of the labels that occur. With Gleason patterns (benign 0, then 3,
#   4, 5) tissue of pattern 3 called benign is one step, as is 4 called 5: both cost the same. Where a grade does not
#   occur its neighbours move together: three more slides of such grades, all graded right, lower kappa from 0.875 to
#   0.720. `labels=range(6)` gives the grades' own distances.
# Why it matters here: quadratic kappa is the measure of grading (PANDA, Gleason 2019). Figures of folds, in which rare
#   grades come and go, are then not of one scale.
# Seen: 2026-12-01, scikit-learn 1.9.1, Python 3.11.
set -euo pipefail
source "$(dirname "$0")/lib.sh"
packages 'scikit-learn==1.9.1' 'scipy==1.17.1' 'numpy==2.4.6'
seen <<'TEXT'
one 3 called 0: 0.969, with labels 0.903, by definition 0.903
one 4 called 5: 0.969, with labels 0.989, by definition 0.989
ISUP 0, 1 and 5: 0.875, with labels 0.701, by definition 0.701
and a 2, 3 and 4, graded right: 0.720, with labels 0.720, by definition 0.720
TEXT
observe <<'PYTHON'
import numpy as np
from sklearn.metrics import cohen_kappa_score


def by_definition(truth, grades):
    """One less the mean squared difference, over that of all pairs of a truth and a grade."""
    return 1 - ((truth - grades) ** 2).mean() / ((truth[:, None] - grades[None]) ** 2).mean()


def show(what, truth, grades):
    default = cohen_kappa_score(truth, grades, weights="quadratic")
    all_grades = cohen_kappa_score(truth, grades, weights="quadratic", labels=range(6))
    print(f"{what}: {default:.3f}, with labels {all_grades:.3f}, by definition {by_definition(truth, grades):.3f}")


patterns = np.repeat([0, 3, 4, 5], 3)
for true, called in ((3, 0), (4, 5)):
    grades = patterns.copy()
    grades[np.flatnonzero(patterns == true)[0]] = called
    show(f"one {true} called {called}", patterns, grades)
truth = np.array([0, 0, 0, 0, 1, 1, 5, 5, 5, 5])
grades = np.array([0, 0, 0, 0, 1, 5, 5, 5, 5, 1])
show("ISUP 0, 1 and 5", truth, grades)
more = [2, 3, 4]
show("and a 2, 3 and 4, graded right", np.append(truth, more), np.append(grades, more))
PYTHON
