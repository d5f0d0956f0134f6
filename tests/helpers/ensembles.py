"""Runs that differ in their weights alone, without training each."""

import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from l2s_jax.runs import checkpoints
from l2s_jax.runs.calibration import Calibration, write_calibration
from l2s_jax.runs.folder import BEST
from l2s_jax.runs.network import load_network, network_digest

CALIBRATION = Calibration(
    1.0, "", "there", "", "val", ("nobody",), 1, 1, 15, 0.5, 0.4, 0.2, 0.1, 0.3, 0.2, 16, "gaussian", "", "0"
)  # fmt: skip


def sibling(run, folder, seed, amount=0.5):
    """A copy of a finished run whose weights another seed has changed a little."""
    shutil.copytree(run, folder)
    rng = np.random.default_rng(seed)

    def changed(leaf):
        leaf = np.asarray(leaf)
        noise = rng.normal(size=leaf.shape).astype(leaf.dtype)
        return jnp.asarray(leaf * (1 + amount * np.clip(noise, -2, 2)))

    variables = jax.tree.map(changed, load_network(run)[0].variables)
    shutil.rmtree(folder / BEST)
    checkpoints.save(folder / BEST, 1, {"variables": variables}, {})
    return folder


def with_temperature(run, temperature):
    """Gives a run a temperature as `calibrate` keeps it."""
    digest = network_digest(load_network(run)[0]).hexdigest()
    write_calibration(run, replace(CALIBRATION, temperature=temperature, network_sha256=digest))
    return run


def softmax(logits):
    """Of the last axis, f64."""
    odds = np.exp(np.asarray(logits, np.float64) - np.max(logits, -1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)


def plain_joint(each):
    """Mean probabilities, predictive entropy and mutual information of f64[M,...,C], as they are defined."""
    each = np.asarray(each)
    mean = each.mean(0)

    def entropy(p):
        return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0).sum(-1)

    return mean, entropy(mean), entropy(mean) - entropy(each).mean(0)
