"""Score against share of masks: a monotone curve through means, and how sure one can be of it.

The curve is `score = a + b (x^k - 1) / k` with x the share of the masks in 0..1, b >= 0 and k in -2..2: a
power law that saturates (k < 0), a logarithm (k = 0) or one that rises faster towards the end (k > 0).

Uncertainty: every mean is redrawn from Student's t around it, and the curve fitted anew. The variances behind
are moderated, each drawn towards the others by as much as they agree (Smyth 2004,
doi:10.2202/1544-6115.1027), so that a few draws of many cells say more than those of one. Means count as
independent of each other: what a draw has in common over methods and shares makes the true uncertainty
smaller rather than larger.
"""

from typing import NamedTuple

import numpy as np
from scipy import optimize, special

POWERS = np.linspace(-2, 2, 81)


class Curves(NamedTuple):
    """Fitted curves, one a row of scores."""

    top: np.ndarray  # f64[B], a: the score at x = 1
    rise: np.ndarray  # f64[B], b
    power: np.ndarray  # f64[B], k

    def at(self, share: np.ndarray) -> np.ndarray:
        """Scores f64[B,K] at shares f64[K] in 0..1."""
        return self.top[:, None] + self.rise[:, None] * _stretched(share, self.power)

    def reaching(self, score: np.ndarray) -> np.ndarray:
        """The share f64[B] at which a curve reaches score f64[B]; 0 or inf where there is none."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            height = (score - self.top) / self.rise
            base = 1 + self.power * height
            flat = np.abs(self.power) < 1e-9
            inside = np.where(flat, np.exp(height), base ** (1 / np.where(flat, 1, self.power)))
        outside = np.where(self.power > 0, 0.0, np.inf)
        share = np.where(flat | (base > 0), inside, outside)
        return np.where(self.rise > 0, share, np.where(self.top >= score, 0.0, np.inf))


def _stretched(share: np.ndarray, power: np.ndarray) -> np.ndarray:
    """(x^k - 1) / k, f64[len(power), len(share)]; log x at k = 0."""
    share, power = np.asarray(share, float)[None], np.asarray(power, float)[:, None]
    safe = np.where(np.abs(power) < 1e-9, 1.0, power)
    return np.where(np.abs(power) < 1e-9, np.log(share), (share**safe - 1) / safe)


def fit_curves(share: np.ndarray, weight: np.ndarray, score: np.ndarray) -> Curves:
    """Weighted least squares over a grid of powers.

    Args:
      share: f64[K] in 0..1, more than 0.
      weight: f64[K], 1 / variance of the means.
      score: f64[B,K], B sets of means.
    """
    weight = weight / weight.sum()
    stretched = _stretched(share, POWERS)
    centre = stretched @ weight
    off = stretched - centre[:, None]
    mean = score @ weight
    rise = np.maximum((score * weight) @ off.T / ((off**2) @ weight), 0)  # [B, powers]
    spread = ((score - mean[:, None]) ** 2) @ weight
    missed = spread[:, None] - 2 * rise * ((score * weight) @ off.T) + rise**2 * ((off**2) @ weight)
    best = missed.argmin(1)
    rows = np.arange(len(score))
    return Curves(mean - rise[rows, best] * centre[best], rise[rows, best], POWERS[best])


def misfit(curves: Curves, share: np.ndarray, weight: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Weighted sum of squares f64[B] between curves and means f64[B,K]."""
    return ((score - curves.at(share)) ** 2) @ weight


def largest_fall(score: np.ndarray) -> np.ndarray:
    """By how much, at most, means f64[B,K] fall below an earlier one."""
    return (np.maximum.accumulate(score, axis=1) - score).max(1)


def moderated_variances(variance: np.ndarray, df: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sample variances drawn towards their common value by as much as they agree (Smyth 2004).

    Args:
      variance: f64[K].
      df: f64[K], their degrees of freedom, 1 or more.

    Returns:
      Variances and degrees of freedom, f64[K] both.
    """
    variance, df = np.asarray(variance, float), np.asarray(df, float)
    if len(variance) < 3 or not (variance > 0).any():
        return variance, df
    floored = np.maximum(variance, 1e-5 * np.median(variance[variance > 0]))
    residual = np.log(floored) - special.digamma(df / 2) + np.log(df / 2)
    excess = residual.var(ddof=1) - special.polygamma(1, df / 2).mean()
    if excess <= 1e-6:  # no more spread than chance gives: one variance
        prior_df, prior = np.inf, np.exp(residual.mean())
        moderated = np.full_like(variance, prior)
    else:
        prior_df = 2 * _inverse_trigamma(excess)
        prior = np.exp(residual.mean() + special.digamma(prior_df / 2) - np.log(prior_df / 2))
        moderated = (prior_df * prior + df * variance) / (prior_df + df)
    return moderated, np.minimum(df + prior_df, df.sum())


def _inverse_trigamma(value: float) -> float:
    return optimize.brentq(lambda x: special.polygamma(1, x) - value, 1e-4, 1e8)


def redraw(
    mean: np.ndarray, variance: np.ndarray, df: np.ndarray, times: int, rng: np.random.Generator
) -> np.ndarray:
    """Means f64[times,K] as they could as well have come out; `variance` is that of each mean."""
    return mean + np.sqrt(variance) * rng.standard_t(df, (times, len(mean)))
