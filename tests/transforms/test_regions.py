"""Operations on masks, against slow definitions."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from endofm.transforms.regions import closing, dilate, erode, heaviest_region, label_regions, opening

masks = hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(mask=masks, reach=st.integers(0, 2))
def test_erosion_and_dilation_by_definition(mask: np.ndarray, reach: int) -> None:
    size = 2 * reach + 1
    padded = np.pad(mask, reach, mode="edge")
    squares = np.lib.stride_tricks.sliding_window_view(padded, (size, size))
    assert np.array_equal(erode(mask, size), squares.all((2, 3)))
    assert np.array_equal(dilate(mask, size), squares.any((2, 3)))


@given(mask=masks)
def test_labels_are_the_connected_regions(mask: np.ndarray) -> None:
    labels = label_regions(mask)
    assert np.array_equal(labels > 0, mask)
    seen = np.zeros_like(mask)
    numbers = set()
    for start in zip(*np.nonzero(mask), strict=True):
        if seen[start]:
            continue
        stack, region = [start], []
        while stack:
            y, x = stack.pop()
            if 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and mask[y, x] and not seen[y, x]:
                seen[y, x] = True
                region.append((y, x))
                stack += [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        found = {int(labels[cell]) for cell in region}
        assert len(found) == 1
        assert not found & numbers
        numbers |= found


def test_lines_go_and_gaps_close() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[5:15, 5:15] = True
    line, gap = mask.copy(), mask.copy()
    line[:, 2] = True
    gap[5:15, 9] = False
    assert np.array_equal(opening(line, 3), mask)
    assert np.array_equal(closing(gap, 3), mask)


def test_heaviest_region_goes_by_weight() -> None:
    mask = np.array([[1, 1, 1, 0, 1]], np.bool_)
    assert heaviest_region(mask, np.ones(mask.shape)).tolist() == [[True, True, True, False, False]]
    weight = np.array([[1.0, 1, 1, 0, 9]])
    assert heaviest_region(mask, weight).tolist() == [[False, False, False, False, True]]
    assert not heaviest_region(np.zeros((3, 3), np.bool_), np.ones((3, 3))).any()
