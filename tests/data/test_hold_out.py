"""Held-out sets: disjoint by group, exact in size, independent of order, with every label on both sides."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from endofm.data.hold_out import hold_out, require_disjoint
from endofm.errors import InputError

Clip = tuple[str, int]
"""Patient and label."""

CLIPS = st.lists(st.tuples(st.sampled_from([f"p{i}" for i in range(12)]), st.integers(0, 3)), min_size=2, max_size=60)


def patient(clip: Clip) -> str:
    return clip[0]


def split(clips: list[Clip], fraction: float, seed: int) -> tuple[list[Clip], list[Clip]]:
    return hold_out(clips, patient, fraction, seed, labels_of=lambda clip: [clip[1]])


@settings(max_examples=150, deadline=None)
@given(clips=CLIPS, fraction=st.floats(0.05, 0.9), seed=st.integers(0, 50), data=st.data())
def test_laws(clips: list[Clip], fraction: float, seed: int, data: st.DataObject) -> None:
    patients = {patient(clip) for clip in clips}
    if len(patients) < 2:
        with pytest.raises(InputError, match="single patient"):
            split(clips, fraction, seed)
        return
    train, held = split(clips, fraction, seed)
    sides = [{patient(clip) for clip in side} for side in (train, held)]
    assert not sides[0] & sides[1]
    assert sides[0] | sides[1] == patients
    assert sorted(train + held) == sorted(clips)
    # As near to the fraction as whole groups allow, with at least one group on either side.
    assert len(sides[1]) == min(max(round(fraction * len(patients)), 1), len(patients) - 1)
    assert split(clips, fraction, seed) == (train, held)
    shuffled = data.draw(st.permutations(clips))
    assert {patient(clip) for clip in split(shuffled, fraction, seed)[1]} == sides[1]


@pytest.mark.parametrize("seed", range(20))
def test_every_label_that_two_patients_show_is_on_both_sides(seed: int) -> None:
    # One rare label of two patients among common ones: a plain draw of two of ten would miss it most of the time.
    clips = [(f"p{i}", 0) for i in range(8)] + [("p8", 1), ("p9", 1)]
    train, held = split(clips, 0.2, seed)
    assert {label for _, label in train} == {label for _, label in held} == {0, 1}


def test_a_label_of_one_patient_stays_where_it_can_be_learnt() -> None:
    clips = [(f"p{i}", 0) for i in range(9)] + [("p9", 1)]
    for seed in range(20):
        assert ("p9", 1) in split(clips, 0.3, seed)[0]


def test_seeds_differ_and_a_new_patient_disturbs_at_most_one_other() -> None:
    clips = [(f"p{i}", 0) for i in range(20)]
    held = {patient(clip) for clip in hold_out(clips, patient, 0.25, 3)[1]}
    assert any({patient(c) for c in hold_out(clips, patient, 0.25, seed)[1]} != held for seed in range(4, 8))
    for new in range(20, 40):
        now = {patient(clip) for clip in hold_out([*clips, (f"p{new}", 0)], patient, 0.25, 3)[1]}
        assert len(held - now) <= 1


def test_an_overlap_is_refused_or_described() -> None:
    sets = {"training": {"a", "b", "c"}, "validation": {"d"}, "test": {"b", "c"}}
    with pytest.raises(InputError, match=r"2 patients or videos are both in the training set and in the test set \(b"):
        require_disjoint(sets, remedy="Set data.allow_overlap=true")
    (note,) = require_disjoint(sets, allow=True)
    assert note.endswith("these numbers say little about new ones.")
    assert require_disjoint({"training": {"a"}, "test": {"b"}}) == []
