"""Rendered clips: equal specs give equal bits, and picture, masks, boxes and labels agree."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from endofm.errors import ConfigError
from endofm.synthetic.population import draw_clip, draw_patient
from endofm.synthetic.render import MIN_AREA_FRACTION, SyntheticClip, build_world, mask_box, render_clip
from endofm.synthetic.scope import build_field
from endofm.synthetic.specs import ArtefactSpec, ClipSpec, InstrumentSpec, LesionSpec, RenderConfig

SMALL = RenderConfig(width=64, height=56, num_frames=4, fps=4.0, difficulty=0.0, seed=8)
CLEAN = ArtefactSpec(
    motion_blur=0.0,
    defocus=0.0,
    dimming=0.0,
    lens_drops=0,
    floating_bubbles=0,
    bleeding=0.0,
    instrument=None,
    seed=1,
)
PATIENTS = {index: draw_patient(SMALL.seed, index) for index in range(3)}


def spec_of(patient: int, index: int, **changes: object) -> ClipSpec:
    spec = draw_clip(SMALL, PATIENTS[patient], index, has_polyp=True)
    return dataclasses.replace(spec, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clips() -> list[SyntheticClip]:
    """Clips of three patients, with and without a polyp; the last two patients see two clips each."""
    wanted = [(0, 0), (0, 1), (0, 2), (1, 3), (1, 4), (2, 5), (2, 6)]
    made = [render_clip(spec_of(patient, index)) for patient, index in wanted]
    return [*made, render_clip(spec_of(2, 7, lesion=None))]


def test_equal_specs_give_equal_bits_whatever_came_before(clips: list[SyntheticClip]) -> None:
    build_world.cache_clear()
    again = [render_clip(spec_of(2, 6)), render_clip(spec_of(0, 1))]
    for clip, other in zip(again, (clips[6], clips[1]), strict=True):
        assert np.array_equal(clip.frames, other.frames)
        assert np.array_equal(clip.masks, other.masks)
        assert clip.parameters == other.parameters
    assert not np.array_equal(clips[0].frames, clips[1].frames)


def test_the_seed_changes_everything() -> None:
    specs = [draw_clip(SMALL, draw_patient(seed, 0), 0, has_polyp=True) for seed in (1, 2)]
    assert specs[0].patient.anatomy != specs[1].patient.anatomy
    moved = draw_clip(dataclasses.replace(SMALL, seed=9), PATIENTS[0], 0, has_polyp=True)
    assert moved.camera != spec_of(0, 0).camera


def test_boxes_hold_exactly_the_masks(clips: list[SyntheticClip]) -> None:
    seen = 0
    for clip in clips:
        assert clip.masks.shape == clip.frames.shape[:3] == (4, 56, 64)
        assert set(np.unique(clip.masks)) <= {0, 255}
        for mask, boxes, names in zip(clip.masks, clip.boxes, clip.class_names, strict=True):
            assert len(boxes) == len(names) == int(mask.any())
            for x0, y0, x1, y1 in boxes:
                seen += 1
                outside = mask.copy()
                outside[y0:y1, x0:x1] = 0
                assert not outside.any()
                inside = mask[y0:y1, x0:x1]
                assert inside[0].any()
                assert inside[-1].any()
                assert inside[:, 0].any()
                assert inside[:, -1].any()
                assert np.count_nonzero(mask) >= MIN_AREA_FRACTION * mask.size
        assert clip.label == int(clip.masks.any()) == int(clip.kind != "none")
        assert {name for names in clip.class_names for name in names} == set(clip.kind.split()[1:])
    assert seen > 15
    assert mask_box(np.zeros((3, 3), np.uint8)) is None


def test_without_a_polyp_there_is_no_mask(clips: list[SyntheticClip]) -> None:
    assert clips[-1].label == 0
    assert clips[-1].kind == "none"
    assert not clips[-1].masks.any()
    assert clips[-1].boxes == ((), (), (), ())


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_picture_changes_where_the_mask_is(index: int) -> None:
    with_polyp = render_clip(spec_of(0, index, artefacts=CLEAN))
    without = render_clip(spec_of(0, index, artefacts=CLEAN, lesion=None))
    assert with_polyp.label
    mask = with_polyp.masks > 0
    change = np.abs(with_polyp.frames.astype(int) - without.frames).mean(axis=-1)
    near = mask.copy()
    for axis in (1, 2):  # Blur and edge enhancement reach a little beyond the mask.
        for step in (-3, -2, -1, 1, 2, 3):
            near |= np.roll(near, step, axis)
    assert change[mask].mean() > 6
    # Shadows aside, the rest changes by the automatic exposure alone.
    assert change[~near].mean() < change[mask].mean() / 3


def test_masks_lie_in_the_field_of_view_and_the_rest_is_border(clips: list[SyntheticClip]) -> None:
    for clip, patient in ((clips[0], 0), (clips[3], 1), (clips[5], 2)):
        field = build_field(PATIENTS[patient].scope, 56, 64)
        outside = field.cover == 0
        assert not clip.masks[:, outside].any()
        if PATIENTS[patient].scope.panel == "none":
            assert clip.frames[:, outside].max() < 40
        assert clip.frames[:, field.cover == 1].mean() > 40


def test_an_instrument_hides_what_lies_behind_it() -> None:
    tool = InstrumentSpec(kind="forceps", angle=0.8, reach=0.5, enter=-1.0, opening=0.5, colour=(0.1, 0.2, 0.5))
    plain = render_clip(spec_of(0, 0, artefacts=CLEAN))
    tooled = render_clip(spec_of(0, 0, artefacts=dataclasses.replace(CLEAN, instrument=tool)))
    assert not (tooled.masks & ~plain.masks).any(), "no polyp where there was none"
    assert np.abs(tooled.frames.astype(int) - plain.frames).max() > 60, "the tool is in the picture"


def test_panels_say_that_it_is_synthetic() -> None:
    panels = [draw_patient(0, index).scope for index in range(60)]
    kinds = {scope.panel for scope in panels}
    assert kinds == {"none", "overlay", "side"}
    assert {scope.field_shape for scope in panels} == {"octagon", "round", "cut_round"}
    assert all("SYNTHETIC" in scope.panel_lines for scope in panels if scope.panel != "none")


def drawn(difficulty: float, count: int = 300) -> list[ClipSpec]:
    config = dataclasses.replace(SMALL, difficulty=difficulty)
    return [draw_clip(config, PATIENTS[0], index, has_polyp=True) for index in range(count)]


def lesions(specs: list[ClipSpec]) -> list[LesionSpec]:
    return [spec.lesion for spec in specs if spec.lesion is not None]


def test_harder_polyps_are_smaller_flatter_dimmer_and_in_view_more_briefly() -> None:
    sets = [drawn(difficulty) for difficulty in (0.0, 0.5, 1.0)]
    for fewer_is_harder in (
        [np.mean([lesion.radius for lesion in lesions(specs)]) for specs in sets],
        [np.mean([lesion.contrast for lesion in lesions(specs)]) for specs in sets],
        [np.mean([lesion.shape != "flat" for lesion in lesions(specs)]) for specs in sets],
        [np.mean([1 - spec.artefacts.dimming for spec in specs]) for specs in sets],
        [np.mean([np.ptp(spec.camera.aim_window) for spec in specs]) for specs in sets],
    ):
        assert fewer_is_harder[0] > fewer_is_harder[1] > fewer_is_harder[2]
    for specs in sets:  # Every kind occurs at every difficulty.
        assert len({(lesion.shape, lesion.histology) for lesion in lesions(specs)}) == 6


def test_harder_polyps_cover_less_of_fewer_frames() -> None:
    shares, views = [], []
    for difficulty in (0.0, 1.0):
        config = dataclasses.replace(SMALL, difficulty=difficulty)
        made = [render_clip(draw_clip(config, PATIENTS[0], i, has_polyp=True)) for i in range(6)]
        shares.append(np.mean([clip.masks.mean() for clip in made]))
        views.append(np.mean([len(boxes) for clip in made for boxes in clip.boxes]))
    assert shares[1] < 0.4 * shares[0]
    assert views[1] < views[0]


def test_a_clip_without_a_polyp_is_seen_as_one_with_it() -> None:
    one, other = (draw_clip(SMALL, PATIENTS[0], 3, has_polyp=has) for has in (True, False))
    assert (one.camera, one.artefacts) == (other.camera, other.artefacts)
    assert other.lesion is None


def test_patients_can_be_told_apart(clips: list[SyntheticClip]) -> None:
    """Clips of one patient are more alike in colour than clips of two, or splits by patient would mean nothing."""
    field = [clip.frames[:, 24:32, 28:36].reshape(-1, 3).astype(float) for clip in clips]
    hue = np.array([np.median(pixels[:, 1:] / np.maximum(pixels[:, :1], 1), axis=0) for pixels in field])
    patients = np.array([int(clip.patient[-3:]) for clip in clips])
    apart = np.linalg.norm(hue[:, None] - hue[None], axis=-1)
    same = patients[:, None] == patients[None]
    assert apart[same & ~np.eye(len(clips), dtype=bool)].mean() < apart[~same].mean()
    assert len({draw_patient(8, i).tissue.albedo for i in range(10)}) == 10
    assert len({draw_patient(8, i).anatomy for i in range(10)}) == 10


@pytest.mark.parametrize("values", [{"width": 16}, {"num_frames": 0}, {"difficulty": 1.5}, {"fps": 0.1}, {"seed": -1}])
def test_impossible_clips_are_refused(values: dict[str, float]) -> None:
    (name,) = values
    with pytest.raises(ConfigError, match=name):
        RenderConfig(**values)  # type: ignore[arg-type]
