"""Rows of a table of scales that are of no slide are said, with the slide that may be meant."""

from pathlib import Path

from l2s_jax.slides.named_rows import left_rows, read_scales

SLIDES = [Path("in/a.svs"), Path("in/b.ome.tif")]


def warnings(rows, *, every=False):
    return left_rows("--mpp-table t.csv", rows, SLIDES, every=every)


def test_rows_with_and_without_suffix_are_of_their_slides():
    assert warnings(["a", "b.ome.tif"], every=True) == [] and warnings([], every=True) == []


def test_a_table_of_more_slides_than_these_is_taken():
    assert warnings(["a", "c", "d"]) == []


def test_a_row_is_said_where_the_slides_are_all():
    (line,) = warnings(["a", "b.ome.tif", "c"], every=True)
    assert line == "warning: 1 name(s) in --mpp-table t.csv are of no slide that is here: c"


def test_a_row_written_otherwise_is_said_either_way():
    for every in (False, True):
        (line,) = warnings(["A.SVS", "b.ome.tif", "c"], every=every)
        assert line.startswith("warning: ") and "t.csv" in line and "'A.SVS' may mean a.svs" in line


def test_a_table_that_names_none_is_said_either_way():
    for every in (False, True):
        (line,) = warnings(["c", "d"], every=every)
        assert "names none of the slides: expected names such as a.svs" in line and "found c, d" in line


def test_the_table_is_read(tmp_path):
    (tmp_path / "t.csv").write_text("slide,mpp\na,0.5\nB.tif,0.25\n")
    table, lines = read_scales(tmp_path / "t.csv", SLIDES)
    assert table == {"a": (0.5, 0.5), "B.tif": (0.25, 0.25)}
    assert len(lines) == 1 and "'B.tif' may mean b.ome.tif" in lines[0]
    assert read_scales(None, SLIDES) == (None, [])
