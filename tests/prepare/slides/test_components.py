"""Regions found in bands are those of the whole mask."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from l2s_jax.prepare.centred_extraction import find_regions
from l2s_jax.prepare.options import ExtractionOptions
from l2s_jax.prepare.slides.components import Band, find_components, pixels_of

MASKS = arrays.arrays(
    np.uint8,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=14),
    elements=st.sampled_from([0, 0, 1, 2, 255]),
)


def in_bands(mask, rows, trim):
    """Bands of some rows, cut to the columns where something is drawn, and left out where nothing is."""

    def bands():
        for top in range(0, len(mask), rows):
            part = mask[top : top + rows]
            columns = np.flatnonzero(((part != 0) & (part != 255)).any(0))
            if not trim:
                yield Band(top, 0, part)
            elif len(columns):
                yield Band(top, int(columns[0]), part[:, columns[0] : columns[-1] + 1])

    return bands


@given(MASKS, st.integers(1, 5), st.booleans())
@settings(deadline=None)
def test_components_are_those_of_the_whole_mask(mask, rows, trim):
    expected = list(find_regions(mask, 0, ExtractionOptions()))
    found = find_components(in_bands(mask, rows, trim), (1, 2)).found
    assert [(one.code, one.area, one.start, one.extent) for one in found] == [
        (one.code, one.area, tuple(side.start for side in one.box), one.inside.shape) for one in expected
    ]


@given(MASKS, st.integers(1, 5), st.integers(0, 99))
@settings(deadline=None)
def test_pixels_come_in_the_order_in_which_they_are_wanted(mask, rows, seed):
    bands = in_bands(mask, rows, trim=True)
    components = find_components(bands, (1, 2))
    rng = np.random.default_rng(seed)
    wanted = {
        number: rng.permutation(one.area)[: rng.integers(1, one.area + 1)] if number % 2 else None
        for number, one in enumerate(components.found)
    }
    points = pixels_of(bands, (1, 2), components, wanted)
    for number, region in enumerate(find_regions(mask, 0, ExtractionOptions())):
        every = np.argwhere(region.inside)
        chosen = wanted[number]
        np.testing.assert_array_equal(points[number], every if chosen is None else every[chosen])
