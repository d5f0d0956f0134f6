"""Reviews without networks: made-up probabilities of a manifest's patches."""

import numpy as np

from l2s_jax.data.marks import item_of
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.prediction.review.judgement import Judgement
from l2s_jax.prediction.review.page import PICTURES, picture_name, review_page
from l2s_jax.prediction.review.strips import write_strip
from l2s_jax.prediction.review.suspicion import label_doubt, mask_doubt
from l2s_jax.types import IGNORE_LABEL

FACTS = [("data", "drawn"), ("runs", "none")]


def judged(contents, seed=0):
    """A judgement of each label and each mask, the most suspicious first, and what was predicted, by line."""
    rng, found, predicted = np.random.default_rng(seed), [], {}
    for row in contents.patches:
        size = read_image(row.image).shape[:2]
        chances = rng.dirichlet(np.full(len(contents.classes), 0.3), size).astype(np.float32)
        predicted[row.line] = chances.argmax(-1)
        if row.label != IGNORE_LABEL:
            doubt = label_doubt(chances, row.label, row.allowed, contents.classes.background)
            found.append(Judgement(row, "label", item_of(row, "label", contents), doubt, 2))
        if row.mask is not None:
            doubt = mask_doubt(chances, read_mask(row.mask, contents.classes), 0.1)
            found.append(Judgement(row, "mask", item_of(row, "mask", contents), doubt, 2))
    return sorted(found, key=lambda one: -one.doubt.suspicion), predicted


def write_page(folder, contents, found, predicted):
    """The page with its pictures, as `review` lays them out; its path."""
    (folder / PICTURES).mkdir(parents=True)
    where = {one.row.line: one.doubt.where for one in found if one.kind == "mask"}
    for row in {one.row.line: one.row for one in found}.values():
        mask = None if row.mask is None else read_mask(row.mask, contents.classes)
        strip = folder / PICTURES / picture_name(row)
        write_strip(
            strip, read_image(row.image), mask, where.get(row.line), predicted[row.line], contents.classes
        )
    path = folder / "review.html"
    path.write_text(review_page(found, contents, FACTS), encoding="utf-8")
    return path
