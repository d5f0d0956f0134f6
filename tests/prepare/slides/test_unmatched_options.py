"""Options of `prepare slides` and `inspect` that fit nothing are refused, or said, before slides are cut."""

from dataclasses import replace

import pytest

from helpers.commands import l2s
from helpers.own_slides import FRAME, STROMA, TUMOUR, write_own_slides, write_regions
from l2s_jax.prepare.options import WorkOptions
from l2s_jax.prepare.slides.class_table import own_classes
from l2s_jax.prepare.slides.drawn import Drawn, DrawnName, scan_slide
from l2s_jax.prepare.slides.inputs import SlideInput
from l2s_jax.prepare.slides.options import AnnotationOptions, SlidesOptions
from l2s_jax.prepare.slides.prepare import prepare_slides
from l2s_jax.prepare.slides.unmatched import idle_ids, idle_truth, slips, undrawn_labels, unmatched
from l2s_jax.system.errors import UserError

SMALL = SlidesOptions(mpp=7.5, patch_size=32, stain="off")
HERE = WorkOptions(workers=1)
NAMES = (("Gland", ""), ("", "7"))
"""Of regions, and the Annotation Ids of their layers."""


@pytest.fixture(scope="module")
def slides(tmp_path_factory):
    """A name that one slide of three has, beside those that all have."""
    folder = write_own_slides(tmp_path_factory.mktemp("own") / "slides", 3)
    (folder / "s2.geojson").unlink()
    write_regions(folder / "s2.geojson", [TUMOUR, STROMA, FRAME, ("Fat", 60, 74, 80, 86)])
    return folder


def refusal(slides, out, **options):
    with pytest.raises(UserError) as error:
        prepare_slides(slides, out, replace(SMALL, **options), HERE)
    assert not out.exists()
    return str(error.value)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"ignore": ("Fat", "Stromma")}, "--ignore 'Stromma'"),
        ({"ignore": ("stroma",)}, "--ignore 'stroma'"),
        ({"frame": ("Done",)}, "--frame 'Done'"),
        ({"rename": {"Fatt": "background"}}, "--rename 'Fatt'"),
        ({"rename": {"Fatt": "Other"}}, "--rename 'Fatt'"),
        ({"label_regions": {"Bx": "Tumour"}}, "--label-regions 'Bx'"),
    ],
)
def test_names_that_no_slide_has_are_refused(slides, tmp_path, options, said):
    text = refusal(slides, tmp_path / "out", **options)
    assert text.startswith(said) and "'Tumour', 'Stroma'" in text and "'Fat'" in text
    assert "'Fat':" not in text


def test_a_name_that_one_slide_has_is_enough(slides, tmp_path):
    made = prepare_slides(slides, tmp_path / "out", replace(SMALL, ignore=("Fat",)), HERE)
    assert "Fat" not in made.manifest.classes.names


def test_beside_a_slide_that_failed_it_is_a_warning(slides, tmp_path):
    for path in slides.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    (tmp_path / "s2.geojson").unlink()
    (tmp_path / "s2.geojson").write_text('{"type": "FeatureCollection", "features": [{}]}')
    said = []
    options = replace(SMALL, ignore=("Fat",), split=(50, 50, 0))
    made = prepare_slides(tmp_path, tmp_path / "out", options, HERE, say=said.append)
    assert made.failures and any(line.startswith("warning: --ignore 'Fat'") for line in said)


def test_a_name_under_which_pictures_lie_may_be_renamed(slides, tmp_path):
    (tmp_path / "t.csv").write_text(
        "slide,annotation,label\n"
        + "".join(f"{slides}/s{n}.svs,{slides}/s{n}.geojson,{'T' if n == 3 else ''}\n" for n in (1, 2, 3))
    )
    options = replace(SMALL, rename={"T": "Tumour"}, ignore=("Fat",))
    names = prepare_slides(tmp_path / "t.csv", tmp_path / "out", options, HERE).manifest.classes.names
    assert "T" not in names


def test_areas_that_no_file_has_are_refused(slides, tmp_path):
    for name in ("s1", "s2", "s3"):
        write_regions(tmp_path / "pen" / f"{name}.geojson", [("pen", 20, 20, 36, 44)])
    text = refusal(slides, tmp_path / "out", exclude=tmp_path / "pen", exclude_only=("pen", "fold"))
    assert text.startswith("--exclude-only fold: ") and "there are pen" in text


def test_rows_of_scales_that_are_of_no_slide_are_said(slides, tmp_path):
    (tmp_path / "mpp.csv").write_text("slide,mpp\ns1,0.5\nS2.svs,0.5\nx,0.5\n")
    said = []
    options = replace(SMALL, mpp_table=tmp_path / "mpp.csv")
    prepare_slides(slides, tmp_path / "out", options, HERE, say=said.append)
    (line,) = [line for line in said if "mpp.csv" in line]
    assert line.startswith("warning: 2 name(s)") and "'S2.svs' may mean s2.svs" in line


@pytest.mark.parametrize(
    "options, said",
    [
        ({"untouched": "locked"}, "--untouched locked .*--corrected-from"),
        ({"areas_from": "whole"}, "--areas-from whole .*--within FOLDER"),
    ],
)
def test_options_of_others_that_are_not_there_are_refused(slides, tmp_path, options, said):
    with pytest.raises(UserError, match=said):
        prepare_slides(slides, tmp_path / "out", replace(SMALL, **options), HERE)
    assert not (tmp_path / "out").exists()


def test_names_of_untouched_predictions_and_ids_are_there():
    """None of them is known, so none is among the classes."""
    gland, layer = (DrawnName((name,) if name else (), ident, 1, 1.0, None) for name, ident in NAMES)
    drawn = [Drawn("s1", "1", "imagescope", (gland, layer), "k", unseen=("Stroma",))]
    asked = {"rename": {"Stroma": "Gland"}, "class_ids": {"7": "Tumour", "8": "Fat"}}
    options = replace(AnnotationOptions(), **asked)
    assert unmatched(own_classes(drawn, (), options, None), drawn, (), options) == []
    (line,) = idle_ids(drawn, options)
    assert line.startswith("warning: --class-ids '8': ") and line.endswith("there are 7")


def test_truth_of_no_predictions_is_said(slides, tmp_path):
    drawn = [scan_slide(SlideInput("s1", slides / "s1.svs", slides / "s1.geojson"), tmp_path, None, None)]
    (line,) = idle_truth(drawn, replace(SMALL, untouched="truth"))
    assert "--corrected-from" in line
    assert idle_truth(drawn, SMALL) == []


def test_a_background_that_is_nowhere_is_said(slides, tmp_path):
    said = []
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "s1.svs").hardlink_to(slides / "s1.svs")
    write_regions(tmp_path / "in" / "s1.geojson", [TUMOUR, STROMA])
    options = replace(SMALL, background="Strma", split=(100, 0, 0))
    prepare_slides(tmp_path / "in", tmp_path / "out", options, HERE, say=said.append)
    assert any("no background is drawn. --background Strma: no region has" in line for line in said)


def test_inspect_says_so_and_goes_on(slides, tmp_path, capsys):
    inspect = ["inspect", slides / "s1.svs", "--mpp", "7.5", "--patch-size", "32"]
    drawn = ["--annotations", slides / "s1.geojson"]
    assert l2s(*inspect, *drawn, "--ignore", "Fat", "--out", tmp_path / "a") == 0
    assert "warning: --ignore 'Fat': no region that was read has this name" in capsys.readouterr().out
    assert l2s(*inspect, *drawn, "--untouched", "locked", "--out", tmp_path / "b") == 2
    assert "--corrected-from" in capsys.readouterr().err
    assert l2s(*inspect, "--ignore", "Fat", "--out", tmp_path / "c") == 2
    assert "--ignore: a slide without --annotations has no such option" in capsys.readouterr().err
    assert l2s(*inspect, "--bach", "--classes", slides, "--out", tmp_path / "d") == 2
    assert "--bach, --classes: a slide without --annotations has no such option" in capsys.readouterr().err


def test_a_class_that_only_a_label_has_is_said(slides, tmp_path):
    table = tmp_path / "slides.csv"
    rows = [f"{slides}/s{n}.svs,{slides}/s{n}.geojson,,{split}" for n, split in ((1, "val"), (2, "test"))]
    text = "slide,annotation,label,split\n" + "\n".join([*rows, f"{slides}/s3.svs,,tumuor,train"])
    table.write_text(text)
    said = []
    asked = replace(SMALL, split=(50, 25, 25), rename={"Fat": "Stroma"})
    prepare_slides(table, tmp_path / "out", asked, HERE, say=said.append)
    warnings = [line for line in said if line.startswith("warning")]
    assert "--split does nothing" in warnings[0] and len(warnings) == 2
    assert "'tumuor' is the class of a label only" in warnings[1]
    assert warnings[1].endswith("Is it 'Tumour'? Mend the label, or say --rename 'tumuor=Tumour'")


def test_options_of_labels_without_a_label_are_said(slides, tmp_path):
    said = []
    prepare_slides(slides, tmp_path / "out", replace(SMALL, label_patches=5), HERE, say=said.append)
    assert [line[:40] for line in said if line.startswith("warning")] == [
        "warning: --label-patches does nothing: n"
    ]


def test_labels_of_drawn_and_given_classes_are_not_said():
    drawn = [Drawn("s1", "print", "geojson", (DrawnName(("Gland",), "", 3, 1.0, None),), "key")]
    options = AnnotationOptions(rename={"gl": "Gland"}, background="rest")
    own = own_classes(drawn, ["Gland", "gl", "rest", "far"], options, None)
    found = undrawn_labels(own, {"geojson"}, ["Gland", "gl", "rest", "far"], options)
    assert len(found) == 1 and "'far'" in found[0] and "Is it" not in found[0]
    assert not undrawn_labels(own, {"mask"}, ["far"], options)


def test_drawn_classes_one_letter_apart_are_said():
    names = [("Tumour", 9), ("Tumor", 1), ("Grade 3", 2), ("Grade 4", 2)]
    of_names = tuple(DrawnName((name,), "", regions, 1.0, None) for name, regions in names)
    own = own_classes([Drawn("s1", "print", "geojson", of_names, "key")], [], AnnotationOptions(), None)
    (line,) = slips(own, AnnotationOptions())
    assert line.startswith("warning: 'Tumor' (1 region(s), in s1) is one letter from 'Tumour' (9 region(s))")
    assert line.endswith("--rename 'Tumor=Tumour'")
