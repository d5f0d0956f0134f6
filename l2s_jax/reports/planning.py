"""How many masks are needed: the share at which a method reaches so much of the full-mask score."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import optimize

from l2s_jax.reports.aggregation import within_runs
from l2s_jax.reports.mask_curves import Curves, fit_curves, largest_fall, misfit
from l2s_jax.reports.names import SETTINGS, in_order, method_text, on_test, percent_text
from l2s_jax.reports.plan_means import (
    FEWEST_DRAWS,
    SETTING,
    WHOLE,
    mask_count,
    moderated_means,
    redrawn_means,
    reference_row,
)
from l2s_jax.system.chance import generator

TARGETS = (90.0, 95.0, 99.0)
FEWEST_SHARES, WIDEST = 3, 10.0
DOUBT = 0.01
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Answer:
    """The share of masks at which one method reaches one target, or why the data cannot say."""

    dataset: str
    variant: str
    setting: str
    target: float  # percent of the full-mask score
    score: float  # that score, 0..1; NaN without a full-mask score
    reference: str  # variant whose S at 100% is the full-mask score; empty without one
    percent: float  # of the masks; NaN where refused
    low: float  # 95% interval; 0: below the smallest share measured
    high: float
    masks: float  # the same as counts of mask patches; NaN where the results do not say how many there are
    masks_low: float
    masks_high: float
    smallest: float  # share measured, percent; NaN where the curve goes through none
    shares: int  # how many shares the curve goes through
    draws: int  # fewest at any of them
    on_test: bool  # an epoch was chosen on the test split, so the scores are optimistic
    reason: str  # empty where answered


@dataclass(frozen=True)
class FittedMethod:
    """One method's means, curve and redrawn curves, for the figure."""

    dataset: str
    variant: str
    setting: str
    percents: np.ndarray  # f64[K]
    means: np.ndarray  # f64[K]
    errors: np.ndarray  # f64[K], standard errors
    curve: Curves  # of the means
    redrawn: Curves
    full: float  # the full-mask score


def plan(
    cells: pd.DataFrame, metric: str, targets: Sequence[float] = TARGETS, *, seed: int = 0
) -> tuple[list[Answer], list[FittedMethod]]:
    """Answers for every data set, method and target, and the curves behind them.

    Args:
      cells: a table as `aggregation` describes it, perhaps with `n_mask`, the number of masks of each run.
      metric: a column of scores, more being better.
      targets: percent of the mean score of S at 100%.
      seed: of the redrawing.
    """
    cells = within_runs(cells)
    answers: list[Answer] = []
    fitted: list[FittedMethod] = []
    for dataset in in_order(cells["dataset"]):
        of_dataset = cells[(cells["dataset"] == dataset) & cells[metric].notna()]
        means = moderated_means(of_dataset[of_dataset["percent"] > 0], metric)
        rng = generator(seed)
        drawn = redrawn_means(means, rng)
        for variant in in_order(of_dataset["variant"]):
            of_variant = of_dataset[of_dataset["variant"] == variant]
            for setting in in_order(of_variant["setting"], SETTINGS):
                chosen = of_variant.loc[of_variant["setting"] == setting, "selection"]
                name, on_test_split = (dataset, variant, setting), bool(chosen.map(on_test).any())
                method = _Method(name, means, drawn, mask_count(of_dataset), on_test_split)
                answers += method.answers(targets)
                if method.fit is not None:
                    fitted.append(method.fit)
    return answers, fitted


def answers_table(answers: Sequence[Answer]) -> pd.DataFrame:
    """One row an answer."""
    return pd.DataFrame([asdict(answer) for answer in answers], columns=list(Answer.__dataclass_fields__))


class _Method:
    """One method of one data set: its usable means, its curve, and what they say."""

    def __init__(
        self,
        name: tuple[str, str, str],
        means: pd.DataFrame,
        drawn: np.ndarray,
        masks: float,
        on_test_split: bool,
    ) -> None:
        self.name, self.masks, self.on_test = name, masks, on_test_split
        _, variant, setting = name
        own = ((means["variant"] == variant) & (means["setting"] == setting)).to_numpy()
        self.single = int((own & (means["n"] < FEWEST_DRAWS)).sum())
        rows = np.flatnonzero(own & means["df"].notna().to_numpy())
        rows = rows[np.argsort(means["percent"].to_numpy()[rows])]
        self.means, self.drawn = means.iloc[rows], drawn[:, rows]
        self.reference = reference_row(means, variant)
        self.full, self.full_drawn = float("nan"), np.array([])
        if self.reference is not None:
            self.full = float(means["mean"].iloc[self.reference])
            self.reference_variant = str(means["variant"].iloc[self.reference])
            self.full_drawn = drawn[:, self.reference]
            self.is_reference = self.reference in rows
        self.fit: FittedMethod | None = None
        self.fault = self._look()

    def _look(self) -> str:
        """Fits the curve; why it cannot be used, or nothing."""
        if self.reference is None:
            return f"no {SETTING} at {WHOLE:g}%: there is no full-mask score to compare with"
        if not np.isfinite(self.full_drawn).all():
            return (
                f"{SETTING} at {WHOLE:g}% has fewer than {FEWEST_DRAWS} draws: how sure it is cannot be said"
            )
        if self.full <= 0:
            return f"{SETTING} at {WHOLE:g}% scores {self.full:g}: a share of it means nothing"
        if len(self.means) < FEWEST_SHARES:
            text = (
                f"a curve needs {FEWEST_SHARES} shares above 0 with {FEWEST_DRAWS} or more draws each; "
                f"there {'is' if len(self.means) == 1 else 'are'} {len(self.means)}"
            )
            return text + (f" ({self.single} have a single draw)" if self.single else "")
        share = self.means["percent"].to_numpy() / 100
        mean, variance = self.means["mean"].to_numpy(), self.means["variance"].to_numpy()
        weight = 1 / np.maximum(variance, 1e-12)
        curve = fit_curves(share, weight, mean[None])
        self.fit = FittedMethod(
            *self.name, 100 * share, mean, np.sqrt(variance), curve, fit_curves(share, weight, self.drawn),
            self.full,
        )  # fmt: skip
        noise = self.drawn - mean
        fall = largest_fall(mean[None])[0]
        rising = optimize.isotonic_regression(mean, weights=weight).x
        if fall > 1e-9 and (largest_fall(rising + noise) >= fall).mean() < DOUBT:
            return (
                "the score falls with more masks, by more than its noise explains: no curve that rises fits"
            )
        expected = curve.at(share) + noise
        missed = misfit(curve, share, weight, mean[None])[0]
        if (
            missed > 1e-6
            and (misfit(fit_curves(share, weight, expected), share, weight, expected) >= missed).mean()
            < DOUBT
        ):
            return (
                "the means do not lie on the fitted curve, by more than their noise explains: see the figure"
            )
        return ""

    def answers(self, targets: Sequence[float]) -> list[Answer]:
        """One answer a target."""
        return [self._answer(target) for target in targets]

    def _answer(self, target: float) -> Answer:
        score = self.full * target / 100
        if self.fault:
            return self._made(target, score, reason=self.fault)
        assert self.fit is not None
        smallest, largest = self.fit.percents[0], self.fit.percents[-1]
        percent = self._reached(self.fit.curve, np.array([score]), largest)[0]
        drawn = self._reached(self.fit.redrawn, self.full_drawn * target / 100, largest)
        low, high = (_quantile(drawn, q) for q in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
        low = 0.0 if low < smallest else low
        reason = self._doubt(percent, low, high, score, smallest, largest, drawn)
        if reason:
            return self._made(target, score, reason=reason)
        return self._made(target, score, percent, low, high)

    def _reached(self, curves: Curves, score: np.ndarray, largest: float) -> np.ndarray:
        """Percent f64[B] at which curves reach scores; inf beyond what was measured."""
        percent = 100 * curves.reaching(score)
        if self.is_reference:  # it reaches its own full-mask score at 100% by definition
            return np.minimum(percent, WHOLE)
        return np.where(percent > largest * (1 + 1e-9), np.inf, percent)

    def _doubt(
        self, percent: float, low: float, high: float, score: float, smallest: float, largest: float,
        drawn: np.ndarray,
    ) -> str:  # fmt: skip
        best = self.fit.means.max() if self.fit else float("nan")
        if percent < smallest:
            at_most = high if np.isfinite(high) else largest
            sure = f"; with 95% confidence at or below {at_most:.3g}%" if np.isfinite(high) else ""
            at = f"reached already at {percent_text(smallest)}%, the smallest share measured"
            return f"{at}{sure}: measure smaller ones"
        if not np.isfinite(percent):
            return (
                f"not reached up to {percent_text(largest)}%, the largest share measured: the best mean is "
                f"{100 * best:.1f}, the target {100 * score:.1f}"
            )
        if not np.isfinite(high):
            return (
                f"too uncertain: perhaps at {percent:.3g}%, but not reached at all in "
                f"{100 * np.isinf(drawn).mean():.0f}% of the resamples. More draws are needed"
            )
        if high / max(low, smallest) > WIDEST:
            below = f"below {percent_text(smallest)}" if low == 0 else f"{low:.3g}"
            return (
                f"too uncertain: 95% interval {below} to {high:.3g}%, wider than a factor of {WIDEST:g}. "
                "More draws are needed"
            )
        return ""

    def _made(
        self, target: float, score: float, percent: float = np.nan, low: float = np.nan, high: float = np.nan,
        reason: str = "",
    ) -> Answer:  # fmt: skip
        counts = [float(np.ceil(self.masks * value / 100 - 1e-9)) for value in (percent, low, high)]
        dataset, variant, setting = self.name
        return Answer(
            dataset=dataset,
            variant=variant,
            setting=setting,
            target=target,
            score=score,
            reference="" if self.reference is None else self.reference_variant,
            percent=percent,
            low=low,
            high=high,
            masks=counts[0],
            masks_low=counts[1],
            masks_high=counts[2],
            smallest=float(self.means["percent"].min()),
            shares=len(self.means),
            draws=int(self.means["n"].min()) if len(self.means) else 0,
            on_test=self.on_test,
            reason=reason,
        )


def _quantile(values: np.ndarray, q: float) -> float:
    """A quantile of values some of which are infinite."""
    return float(np.quantile(values, q, method="inverted_cdf"))


def answer_text(answer: Answer) -> str:
    """An answer in a sentence."""
    method = method_text(answer.variant, answer.setting) + (" [chosen on test]" if answer.on_test else "")
    if answer.reason:
        return f"{method}, {answer.target:g}%: no answer: {answer.reason}"
    low = f"{answer.low:.3g}" if answer.low else "below the smallest measured"
    return f"{method}, {answer.target:g}%: {answer.percent:.3g}% of the masks ({low} to {answer.high:.3g}%)"
