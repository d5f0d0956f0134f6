"""Outlines come back from their file as they were."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from l2s_jax.slides.annotations.outline_store import load_outlines, save_outlines
from l2s_jax.slides.annotations.types import Outline, Parsed

RINGS = arrays.arrays(np.float64, st.tuples(st.integers(0, 4), st.just(2)))
COLOURS = st.none() | st.tuples(*[st.integers(0, 255)] * 3)
OUTLINES = st.builds(
    Outline,
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=2).map(tuple),
    st.lists(RINGS, max_size=3).map(tuple),
    st.integers(0, 9),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    st.booleans(),
    COLOURS,
)
SKIPPED = st.lists(st.tuples(st.sampled_from(["cell", "Point"]), st.integers(1, 9))).map(tuple)


@given(st.lists(OUTLINES, max_size=5).map(tuple), st.none() | st.floats(0.1, 1), SKIPPED)
@settings(deadline=None)
def test_what_is_saved_is_loaded(tmp_path_factory, outlines, mpp, skipped):
    path = tmp_path_factory.mktemp("store") / "a.npz"
    save_outlines(path, Parsed(outlines, mpp, skipped))
    loaded = load_outlines(path)
    assert (loaded.mpp, loaded.skipped) == (mpp, skipped) and len(loaded.outlines) == len(outlines)
    for one, other in zip(outlines, loaded.outlines, strict=True):
        assert one._replace(rings=()) == other._replace(rings=())
        assert len(one.rings) == len(other.rings)
        for ring, again in zip(one.rings, other.rings, strict=True):
            np.testing.assert_array_equal(ring, again)


def test_a_missing_or_damaged_file_is_none(tmp_path):
    assert load_outlines(tmp_path / "a.npz") is None
    save_outlines(tmp_path / "a.npz", Parsed((), None, ()))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) // 2])
    assert load_outlines(tmp_path / "a.npz") is None
