"""Reviews without networks, of made-up probabilities of a manifest's patches; runs that know some groups."""

import json
import re
import shutil

import jax
import numpy as np

from l2s_jax.data.marks import item_of
from l2s_jax.data.pictures import read_image, read_mask
from l2s_jax.prediction.review.judgement import Judgement
from l2s_jax.prediction.review.page import PICTURES, picture_name, review_page
from l2s_jax.prediction.review.strips import write_panels, write_strip
from l2s_jax.prediction.review.suspicion import label_doubt, mask_doubt
from l2s_jax.prediction.review.window_files import window_picture_name
from l2s_jax.prediction.review.windows import WindowDoubt
from l2s_jax.prediction.slides.windows import Window
from l2s_jax.runs import checkpoints
from l2s_jax.runs.folder import BEST, SUBSET
from l2s_jax.runs.network import load_network
from l2s_jax.runs.records import keep_text
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


def contested(slides=2, each=3):
    """Windows of made-up slides, the most contested first."""
    windows = [Window(slide, (32 * row, 0)) for row in range(each) for slide in range(slides)]
    return [
        WindowDoubt(rank, one, f"s{one.slide}.svs", f"s{one.slide}", "", (0, 0, 1, 1), 1 / rank, 1, 0.6, 2)
        for rank, one in enumerate(windows, 1)
    ]


def page_data_of(text):
    """What `page.js` is told."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def write_page(folder, contents, found, predicted, windows=()):
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
    for one in windows:
        blank = np.full((32, 32, 3), 200, np.uint8)
        write_panels(folder / PICTURES / window_picture_name(one.rank), [blank] * 3)
    path.write_text(review_page(found, contents, FACTS, windows), encoding="utf-8")
    return path


def run_that_learned_from(groups, trained, folder, change):
    """The trained run with other weights, whose record says that it has learned from these groups."""
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("last"))
    variables = jax.tree.map(lambda leaf: leaf * (1 + change), load_network(trained)[0].variables)
    checkpoints.save(folder / BEST, 1000, {"variables": variables}, {})
    header = "index,image,group,mask_used,label_used\n"
    lines = [f"{n},{group}.png,{group},1,1\n" for n, group in enumerate(groups)]
    keep_text(folder, SUBSET, header + "".join(lines))
    return folder
