"""Order of an epoch, divided among processes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endofm.data.epoch_order import epoch_order
from endofm.errors import InputError


@given(length=st.integers(0, 40), world_size=st.integers(1, 5), shuffle=st.booleans(), epoch=st.integers(0, 3))
def test_processes_share_an_epoch(length: int, world_size: int, shuffle: bool, epoch: int) -> None:
    shares = [
        epoch_order(length, seed=1, epoch=epoch, shuffle=shuffle, rank=rank, world_size=world_size).tolist()
        for rank in range(world_size)
    ]
    assert {len(share) for share in shares} == {length // world_size}
    together = [place for share in shares for place in share]
    assert len(set(together)) == len(together), "no clip twice"
    assert set(together) <= set(range(length))
    if not shuffle:
        assert sorted(together) == list(range(length - length % world_size))


def test_what_is_left_out_changes_with_the_epoch() -> None:
    orders = [epoch_order(11, seed=1, epoch=epoch, world_size=3, rank=0).tolist() for epoch in range(2)]
    assert orders[0] != orders[1]
    left = [
        set(range(11)) - {i for rank in range(3) for i in epoch_order(11, seed=1, epoch=epoch, world_size=3, rank=rank)}
        for epoch in range(6)
    ]
    assert len(set.union(*left)) > 4
    with pytest.raises(InputError, match="rank 3 of 3"):
        epoch_order(11, seed=0, epoch=0, rank=3, world_size=3)
