"""What labels are worth here: how many masks S would need for the score of a method that has labels too."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from l2s_jax.reports.aggregation import within_runs
from l2s_jax.reports.mask_curves import fit_curves
from l2s_jax.reports.names import SETTINGS, in_order, method_text, percent_text
from l2s_jax.reports.plan_means import SETTING, WHOLE, mask_count, moderated_means, redrawn_means
from l2s_jax.reports.planning import CONFIDENCE, FEWEST_SHARES, WIDEST
from l2s_jax.system.chance import generator


@dataclass(frozen=True)
class Worth:
    """What the labels of one method at one share stand for, in masks of S."""

    dataset: str
    variant: str
    setting: str
    percent: float  # of the masks that the method has
    masks: float  # how many these are
    labels: float  # that it learns from beside them
    equal: float  # masks with which S has the same score; NaN where refused
    low: float  # 95% interval; 0: below the smallest share at which S was measured
    high: float
    labels_a_mask: float  # labels that are worth one more mask; inf: no number of them is
    labels_a_mask_low: float  # 95% interval
    labels_a_mask_high: float
    reason: str  # empty where answered


def worths(cells: pd.DataFrame, metric: str, *, seed: int = 0) -> list[Worth]:
    """What labels are worth for every data set, method with labels and share of the masks.

    S is read off its fitted curve (`mask_curves`), so nothing is said outside of the shares at which S was
    measured.

    Args:
      cells: a table as `aggregation` describes it. Without `n_mask` and `n_label` nothing is found.
      metric: a column of scores, more being better.
      seed: of the redrawing.
    """
    if not {"n_mask", "n_label"} <= set(cells.columns):
        return []
    cells = within_runs(cells)
    found: list[Worth] = []
    for dataset in in_order(cells["dataset"]):
        own = cells[(cells["dataset"] == dataset) & cells[metric].notna() & (cells["percent"] > 0)]
        means = moderated_means(own, metric)
        drawn = redrawn_means(means, generator(seed))
        known = means["df"].notna()
        for variant in in_order(own["variant"]):
            base = _rows(means, known, _variant_of_s(own, variant), SETTING)
            for setting in in_order(own.loc[own["variant"] == variant, "setting"], SETTINGS):
                if setting == SETTING or len(base) < FEWEST_SHARES:
                    continue
                for row in _rows(means, known, variant, setting):
                    percent = float(means["percent"].iloc[row])
                    here = own[(own["variant"] == variant) & (own["setting"] == setting)]
                    here = here[here["percent"] == percent]
                    if percent < WHOLE and here["n_label"].median() > 0:
                        name = (dataset, variant, setting, percent)
                        found.append(_worth(name, here, means, drawn, base, row, mask_count(own)))
    return found


def _variant_of_s(cells: pd.DataFrame, variant: str) -> str:
    """The variant whose S a method is compared with: its own, else the first that has one."""
    having = in_order(cells.loc[cells["setting"] == SETTING, "variant"])
    return variant if variant in having else next(iter(having), "")


def _rows(means: pd.DataFrame, known: pd.Series, variant: str, setting: str) -> np.ndarray:
    """Rows of a method's means with a known error, by share."""
    rows = np.flatnonzero((means["variant"] == variant) & (means["setting"] == setting) & known)
    return rows[np.argsort(means["percent"].to_numpy()[rows])]


def _worth(
    name: tuple[str, str, str, float],
    here: pd.DataFrame,
    means: pd.DataFrame,
    drawn: np.ndarray,
    base: np.ndarray,
    row: int,
    all_masks: float,
) -> Worth:
    share = means["percent"].to_numpy(float)[base] / WHOLE
    mean, variance = (means[column].to_numpy(float) for column in ("mean", "variance"))
    weight = 1 / np.maximum(variance[base], 1e-12)
    curve, redrawn = (fit_curves(share, weight, one) for one in (mean[base][None], drawn[:, base]))
    masks, labels = float(here["n_mask"].median()), float(here["n_label"].median())

    def made(equal: float = np.nan, low: float = np.nan, high: float = np.nan, reason: str = "") -> Worth:
        price, price_low, price_high = (_price(labels, one - masks) for one in (equal, high, low))
        return Worth(*name, masks, labels, equal, low, high, price, price_low, price_high, reason)

    reached = curve.reaching(mean[[row]])[0]
    each = redrawn.reaching(drawn[:, row])
    low, high = (
        np.quantile(each, q, method="inverted_cdf") for q in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    )
    first, last = f"{percent_text(WHOLE * share[0])}%", f"{percent_text(WHOLE * share[-1])}%"
    if reached < share[0]:
        return made(reason=f"below what S has at {first}, the smallest share at which it was measured")
    if reached > share[-1] * (1 + 1e-9):
        return made(reason=f"above what S has at {last}, the largest share at which it was measured")
    if high > share[-1] * (1 + 1e-9) or high / max(low, share[0]) > WIDEST:
        top = "" if high <= share[-1] * (1 + 1e-9) else f"beyond {last}"
        return made(
            reason=f"too uncertain: perhaps like {all_masks * reached:.0f} masks, 95% interval "
            f"{all_masks * max(low, share[0]):.0f} to {top or f'{all_masks * high:.0f}'}"
        )
    return made(all_masks * reached, all_masks * low if low >= share[0] else 0.0, all_masks * high)


def _price(labels: float, gain: float) -> float:
    """Labels for each mask that is gained; inf where none is."""
    return gain if np.isnan(gain) else labels / gain if gain > 0 else np.inf


def worth_table(found: Sequence[Worth]) -> pd.DataFrame:
    """One row a method and share."""
    return pd.DataFrame([asdict(one) for one in found], columns=list(Worth.__dataclass_fields__))


def worth_text(one: Worth) -> str:
    """It in a sentence."""
    start = (
        f"{method_text(one.variant, one.setting)} with {one.masks:.0f} masks and {one.labels:.0f} labels: "
    )
    if one.reason:
        return f"{start}not told in masks of S: {one.reason}"
    below = "below the smallest measured" if one.low == 0 else f"{one.low:.0f}"
    return f"{start}like S with {one.equal:.0f} masks ({below} to {one.high:.0f}): {_worth_text(one)}"


def _worth_text(one: Worth) -> str:
    if one.high <= one.masks:
        return "the labels are worth no mask"
    if one.low <= one.masks:
        return "whether the labels are worth a mask cannot be told"
    price, low, high = (
        f"{value:.0f}" if value >= 10 else f"{value:.1f}"
        for value in (one.labels_a_mask, one.labels_a_mask_low, one.labels_a_mask_high)
    )
    return f"{price} labels are worth one more mask ({low} to {high})"
