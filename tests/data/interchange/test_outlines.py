"""Polygons and masks: outlines filled again give the mask, and fills hold the pixels whose centres are inside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from endofm.data.interchange.brush_runs import decode_brush, encode_brush
from endofm.data.interchange.outlines import fill_polygons, trace_outlines

masks = arrays.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@settings(max_examples=150, deadline=None)
@given(masks)
def test_outlines_filled_are_the_mask(mask: np.ndarray) -> None:
    outer, holes = trace_outlines(mask)
    assert np.array_equal(fill_polygons([*outer, *holes], *mask.shape), mask)


def test_a_ring_has_an_outline_and_a_hole() -> None:
    mask = np.ones((5, 6), np.bool_)
    mask[2, 2:4] = False
    outer, holes = trace_outlines(mask)
    assert (sorted(outer[0]), len(outer), len(holes)) == ([(0, 0), (0, 5), (6, 0), (6, 5)], 1, 1)


def test_a_fill_holds_the_pixels_whose_centres_are_inside() -> None:
    # A triangle and a box with fractional corners, against the definition.
    for polygon in ([(0.2, 0.1), (7.9, 2.0), (3.0, 6.4)], [(1.4, 1.6), (4.5, 1.6), (4.5, 3.5), (1.4, 3.5)]):
        expected = np.zeros((8, 9), np.bool_)
        for y in range(8):
            for x in range(9):
                inside = False
                for (x1, y1), (x2, y2) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
                    if (y1 <= y + 0.5) != (y2 <= y + 0.5) and x + 0.5 >= x1 + (y + 0.5 - y1) * (x2 - x1) / (y2 - y1):
                        inside = not inside
                expected[y, x] = inside
        assert np.array_equal(fill_polygons([polygon], 8, 9), expected)
    assert not fill_polygons([[(float("nan"), 0), (3, 3), (0, 3)], []], 4, 4).any()


@settings(max_examples=60, deadline=None)
@given(masks)
def test_brushes_are_read_back(mask: np.ndarray) -> None:
    assert np.array_equal(decode_brush(encode_brush(mask), *mask.shape), mask)


def test_long_runs_and_damage() -> None:
    mask = np.zeros((300, 400), np.bool_)
    mask[100:180, 20:390] = True
    code = encode_brush(mask)
    assert np.array_equal(decode_brush(code, 300, 400), mask)
    for damaged, size in ((code[:-3], (300, 400)), (code, (300, 401)), (code[:3], (300, 400))):
        with pytest.raises(ValueError, match="brush"):
            decode_brush(damaged, *size)
