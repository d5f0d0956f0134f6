import os

import pytest

from helpers.commands import l2s
from l2s_jax import UserError, read_manifest
from l2s_jax.data.manifest import straddling_groups
from l2s_jax.prepare.halves import prepare_halves
from l2s_jax.types import IGNORE_LABEL


@pytest.fixture
def unlabelled(phantom, tmp_path):
    """The phantom as the paper's data sets are: labels on image-level training patches only."""
    lines = (phantom / "patches.csv").read_text().splitlines()
    head = lines[0].split(",")
    mask, label, split = (head.index(name) for name in ("mask", "label", "split"))
    kept = [lines[0]]
    for line in lines[1:]:
        fields = line.split(",")
        if fields[mask] and fields[split] != "train":
            fields[label] = ""
        if fields[mask] or fields[split] == "train":
            kept.append(",".join(fields))
    folder = tmp_path / "data"
    os.makedirs(folder)
    for name in ("images", "masks"):
        (folder / name).mkdir()
        for file in (phantom / name).iterdir():
            os.link(file, folder / name / file.name)
    (folder / "classes.toml").write_bytes((phantom / "classes.toml").read_bytes())
    (folder / "patches.csv").write_text("\n".join(kept) + "\n")
    return folder


def image_level(rows):
    return [row for row in rows if row.mask is None and row.label != IGNORE_LABEL]


def test_half_of_the_image_level_patches_are_tested_on(unlabelled, tmp_path):
    before = read_manifest(unlabelled)
    made, lines = prepare_halves(unlabelled, tmp_path / "halves")
    assert not straddling_groups(made.patches) and len(made.patches) == len(before.patches)
    held, kept = (image_level(made.of_split(split)) for split in ("test", "train"))
    whole = image_level(before.of_split("train"))
    assert len(held) + len(kept) == len(whole) and abs(len(held) - len(kept)) <= 0.34 * len(whole)
    assert {row.label for row in held} == {row.label for row in whole}
    assert made.of_split("val") == tuple(
        type(row)(**{**vars(row), "image": made.folder / row.image.relative_to(before.folder),
                     "mask": made.folder / row.mask.relative_to(before.folder)})
        for row in before.of_split("val")
    )  # fmt: skip
    assert f"{len(held)} of {len(whole)} image-level" in lines[0] and "moved with them" in lines[1]
    assert prepare_halves(unlabelled, tmp_path / "halves")[0] == made


def test_the_command_and_a_sweep_that_needs_it(unlabelled, tmp_path, capsys):
    (tmp_path / "s.toml").write_text(
        'study = "classification"\ndraws = 1\npercents = [50]\n[options]\nweights = "random"\nsteps = 1\n'
    )
    sweep = ("sweep", tmp_path / "s.toml", "--out", tmp_path / "o", "--dry-run", "--manifest")
    assert l2s(*sweep, unlabelled) == 2
    assert "prepare halves" in capsys.readouterr().err
    assert l2s("prepare", "halves", unlabelled, tmp_path / "halves") == 0
    assert l2s("prepare", "halves", tmp_path / "halves", tmp_path / "again") == 2
    assert "has labels in its split test already" in capsys.readouterr().err


def test_one_group_has_no_halves(unlabelled, tmp_path):
    text = (unlabelled / "patches.csv").read_text()
    groups = {row.group for row in read_manifest(unlabelled).of_split("train")}
    for group in groups:
        text = text.replace(f",{group},", ",one,")
    (unlabelled / "patches.csv").write_text(text)
    with pytest.raises(UserError, match=r"of 1 group\(s\)"):
        prepare_halves(unlabelled, tmp_path / "o")
