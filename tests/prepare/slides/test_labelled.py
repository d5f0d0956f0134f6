"""Pictures, slides and regions of which only the label is known."""

from dataclasses import replace

import numpy as np
import pytest

from helpers.commands import l2s
from helpers.dataset_generator import draw_tissue
from helpers.own_slides import FRAME, STROMA, TUMOUR, write_own_slides, write_regions
from l2s_jax.data.check import check_manifest
from l2s_jax.data.patch_set import load_patches
from l2s_jax.data.pictures import read_image, write_png
from l2s_jax.prepare.options import WorkOptions
from l2s_jax.prepare.slides.labelled import label_of_part
from l2s_jax.prepare.slides.options import SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.system.errors import UserError
from l2s_jax.types import IGNORE_LABEL

SMALL = SlidesOptions(mpp=7.5, patch_size=32, stain="off")
HERE = WorkOptions(workers=1)


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    return write_own_slides(tmp_path_factory.mktemp("own") / "slides", 3)


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "labelled"
    for code, (name, sides) in enumerate(
        {"Tumour": (64, 96), "Stroma": (40, 40), "background": (64, 64)}.items()
    ):
        for number in range(2):
            write_png(folder / name / f"{number}.png", draw_tissue(*sides, 50 + 10 * code + number))
    (folder / "empty").mkdir()
    return folder


def of_pictures(made):
    return [row for row in made.manifest.patches if "labelled" in row.image.parent.name]


def test_pictures_are_cut_at_a_stated_scale(slides, pictures, tmp_path):
    said = []
    options = replace(SMALL, labelled=pictures, labelled_mpp=7.5)
    made = prepare_slides(slides, tmp_path / "out", options, HERE, say=said.append)
    names = made.manifest.classes.names
    rows = of_pictures(made)
    assert {row.split for row in rows} == {"train"} and len({row.group for row in rows}) == 6
    tumour, stroma, background = names.index("Tumour"), names.index("Stroma"), names.index("background")
    known = {(row.source.split("/")[0], row.label, row.allowed) for row in rows}
    assert known == {
        ("Tumour", IGNORE_LABEL, tuple(sorted((background, tumour)))),  # cut: not each patch need hold it
        ("Stroma", stroma, ()),
        ("background", background, ()),
    }
    assert sum(row.source.startswith("Tumour") for row in rows) == 2 * 2 * 3
    row = next(row for row in rows if row.source == "Tumour/0.png")
    np.testing.assert_array_equal(read_image(row.image), draw_tissue(64, 96, 50)[:32, :32])
    assert check_manifest(tmp_path / "out").ok
    assert any("6 labelled pictures" in line for line in said) and any("--groups" in line for line in said)


def test_the_scale_must_be_stated_or_given_up(slides, pictures, tmp_path):
    with pytest.raises(UserError, match=r"--labelled-mpp.*--labelled-fit"):
        prepare_slides(slides, tmp_path / "out", replace(SMALL, labelled=pictures), HERE)
    for alone in ({"labelled_mpp": 7.5}, {"labelled_fit": True}):
        with pytest.raises(UserError, match="need --labelled"):
            prepare_slides(slides, tmp_path / "out", replace(SMALL, **alone), HERE)
    made = prepare_slides(
        slides, tmp_path / "out", replace(SMALL, labelled=pictures, labelled_fit=True), HERE
    )
    assert len(of_pictures(made)) == 6 and all(row.label != IGNORE_LABEL for row in of_pictures(made))


def test_pictures_smaller_than_a_patch_are_named(slides, pictures, tmp_path):
    options = replace(SMALL, labelled=pictures, labelled_mpp=3.75)
    made = prepare_slides(slides, tmp_path / "out", options, HERE)
    assert len(made.failures) == 2 and all("Stroma" in one and "150 x 150 um" in one for one in made.failures)


def test_groups_of_pictures_do_not_leak(slides, pictures, tmp_path):
    table = tmp_path / "groups.csv"
    table.write_text(
        "picture,group\n"
        + "".join(f"{n}/{k}.png,p{k}\n" for n in ("Tumour", "Stroma", "background") for k in (0, 1))
    )
    options = replace(SMALL, labelled=pictures, labelled_fit=True, groups=table)
    made = prepare_slides(slides, tmp_path / "out", options, HERE)
    assert {row.group for row in of_pictures(made)} == {"p0", "p1"}
    held = next(row.group for row in made.manifest.patches if row.split == "test")
    table.write_text(f"picture,group\nTumour/0.png,{held}\n")
    with pytest.raises(UserError, match=rf"Tumour/0\.png \({held}, test\).*leak"):
        prepare_slides(slides, tmp_path / "b", options, HERE)


def test_a_folder_that_is_no_class_is_said_where_classes_are_given(slides, pictures, tmp_path):
    file = tmp_path / "classes.toml"
    file.write_text(
        'background = "background"\nclass = [{ name = "background", colour = [0, 0, 0] }, '
        '{ name = "Tumour", colour = [1, 2, 3] }]\n'
    )
    options = replace(SMALL, classes=file, ignore=("Stroma",), labelled=pictures, labelled_fit=True)
    with pytest.raises(UserError, match="'Stroma'"):
        prepare_slides(slides, tmp_path / "out", options, HERE)


def test_a_slides_label_says_what_can_be_in_its_patches(slides, tmp_path):
    folder = write_own_slides(tmp_path / "slides", 3)
    write_own_slides(folder, 2, first=4)
    (folder / "s4.geojson").unlink()
    (folder / "s5.geojson").unlink()
    lines = [f"s{n}.svs,s{n}.geojson," for n in (1, 2, 3)] + ["s4.svs,,Tumour", "s5.svs,,background"]
    (folder / "t.csv").write_text("slide,annotation,label\n" + "\n".join(lines))
    made = prepare_slides(folder / "t.csv", tmp_path / "out", replace(SMALL, label_patches=5), HERE)
    classes = made.manifest.classes
    of = {name: [row for row in made.manifest.patches if row.group == name] for name in ("s4", "s5")}
    assert [len(rows) for rows in of.values()] == [5, 5]
    assert {(row.mask, row.label, row.allowed, row.split) for row in of["s4"]} == {
        (None, IGNORE_LABEL, (0, classes.names.index("Tumour")), "train")
    }
    assert {(row.label, row.allowed) for row in of["s5"]} == {(0, ())}
    tumour = classes.names.index("Tumour")
    assert {(row.bag, row.bag_label) for row in of["s4"]} == {("s4", tumour)}
    assert {(row.bag, row.bag_label) for row in of["s5"]} == {("", IGNORE_LABEL)}
    patches = load_patches(of["s4"], classes, 1)
    assert patches.says_something.all() and patches.allowed.sum() == 2 * 5
    assert check_manifest(tmp_path / "out").ok


def test_regions_that_carry_only_a_label(tmp_path):
    folder = write_own_slides(tmp_path / "slides", 3)
    for name in ("s1", "s2", "s3"):
        (folder / f"{name}.geojson").unlink()
        write_regions(folder / f"{name}.geojson", [TUMOUR, STROMA, FRAME, ("Box", 60, 60, 128, 128)])
    options = replace(SMALL, label_regions={"Box": "Tumour"})
    said = []
    made = prepare_slides(folder, tmp_path / "out", options, HERE, say=said.append).manifest
    assert "Box" not in made.classes.names and any("Box (label only)" in line for line in said)
    rows = [row for row in made.patches if row.mask is None]
    assert rows and {row.split for row in rows} == {"train"}
    assert {row.allowed for row in rows} == {(0, made.classes.names.index("Tumour"))}
    assert {(row.bag, row.bag_label) for row in rows} == {(row.group, row.allowed[1]) for row in rows}
    with pytest.raises(UserError, match="'Nerve'"):
        prepare_slides(
            folder,
            tmp_path / "c",
            replace(options, classes=tmp_path / "out", label_regions={"Box": "Nerve"}),
            HERE,
        )


def test_without_background_a_label_of_a_whole_says_nothing_of_a_part():
    with pytest.raises(UserError, match="--background"):
        label_of_part(1, None)


@pytest.mark.slow
def test_training_takes_all_three_kinds(slides, pictures, tmp_path):
    options = ["--mpp", "7.5", "--patch-size", "32", "--stain", "off", "--workers", "1"]
    words = [*options, "--labelled", pictures, "--labelled-mpp", "7.5"]
    assert l2s("prepare", "slides", slides, tmp_path / "out", *words) == 0
    run = ["--weights", "random", "--steps", "2", "--batch-size", "4", "--preset", "labelset"]
    assert l2s("train", tmp_path / "out", "--out", tmp_path / "run", *run) == 0
