"""Random patients and clips: equal ``(seed, patient, clip)`` give equal specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np

from endofm.synthetic.specs import (
    HISTOLOGIES,
    SHAPES,
    TUBE_LENGTH,
    AnatomySpec,
    ArtefactSpec,
    CameraSpec,
    ClipSpec,
    InstrumentSpec,
    LesionShape,
    LesionSpec,
    PatientSpec,
    RenderConfig,
    ScopeSpec,
    TissueSpec,
)

T = TypeVar("T")
Panel = Literal["none", "overlay", "side"]

# The last number of a seed tells the streams apart: patients and clips of equal numbers must not share draws.
_PATIENT, _CLIP = 101, 102


def draw_patient(seed: int, index: int) -> PatientSpec:
    """Draw the anatomy, the tissue and the scope of one patient.

    Args:
        seed: Seed of the set.
        index: Number of the patient.
    """
    rng = np.random.default_rng([seed, index, _PATIENT])
    return PatientSpec(
        seed=seed, index=index, anatomy=_draw_anatomy(rng), tissue=_draw_tissue(rng), scope=_draw_scope(rng, index)
    )


def _draw_anatomy(rng: np.random.Generator) -> AnatomySpec:
    return AnatomySpec(
        fold_spacing=_uniform(rng, 0.65, 1.25),
        fold_height=_uniform(rng, 0.24, 0.5),
        fold_width=_uniform(rng, 0.065, 0.13),
        fold_arc=_uniform(rng, 0.95, 1.35),
        triangularity=_uniform(rng, 0.0, 0.2),
        bend=_uniform(rng, 0.25, 0.65),
        calibre_variation=_uniform(rng, 0.05, 0.13),
        gravity_angle=_uniform(rng, -np.pi, np.pi),
        pooling=_uniform(rng, 0.08, 0.3) if rng.random() < 0.4 else 0.0,
    )


def _draw_tissue(rng: np.random.Generator) -> TissueSpec:
    # Mucosa is red because blood absorbs green and blue; its brightness and hue differ from patient to patient.
    red = _uniform(rng, 0.74, 0.88)
    green = red * _uniform(rng, 0.33, 0.46)
    # The power above 1 makes most bowels fairly clean.
    unclean = rng.random() ** 1.7
    film = (0.80, _uniform(rng, 0.52, 0.66), _uniform(rng, 0.14, 0.24))
    brown = _uniform(rng, 0.26, 0.46)
    return TissueSpec(
        albedo=(red, green, green * _uniform(rng, 0.55, 0.74)),
        mottling=_uniform(rng, 0.12, 0.34),
        vessel_density=_uniform(rng, 1.4, 4.2),
        vessel_contrast=_uniform(rng, 0.45, 1.15),
        gloss=_uniform(rng, 0.7, 1.25),
        roughness=_uniform(rng, 0.65, 1.3),
        film=_uniform(rng, 0.05, 0.2) + 0.45 * unclean,
        stool=0.75 * max(unclean - 0.3, 0.0),
        bubbles=_uniform(rng, 0.0, 0.25) + 0.6 * unclean * rng.random(),
        blood=0.5 * max(float(rng.random()) - 0.55, 0.0),
        film_colour=film,
        stool_colour=(brown, brown * _uniform(rng, 0.56, 0.7), brown * _uniform(rng, 0.16, 0.3)),
    )


def _draw_scope(rng: np.random.Generator, index: int) -> ScopeSpec:
    warm, tint = rng.normal(0, 0.05), rng.normal(0, 0.03)
    panels: tuple[Panel, ...] = ("none", "overlay", "side")
    panel = _choose(rng, panels, (0.5, 0.3, 0.2))
    lines = ("SYNTHETIC", f"CASE {index:03d}", _choose(rng, ("G:N", "E:A5", "CVP:3"), (1, 1, 1)))
    return ScopeSpec(
        field_shape=_choose(rng, ("octagon", "round", "cut_round"), (0.5, 0.2, 0.3)),
        field_degrees=_uniform(rng, 122, 150),
        distortion=_uniform(rng, -0.03, 0.12),
        panel=panel,
        panel_lines=lines if panel != "none" else (),
        gain=(1.0 + float(warm), 1.0 + float(tint), 1.0 - float(warm)),
        exposure=_uniform(rng, 0.82, 1.2),
        contrast=_uniform(rng, 0.9, 1.12),
        light_offset=_uniform(rng, 0.07, 0.13),
        light_angle=_uniform(rng, 0, np.pi),
        vignette=_uniform(rng, 0.05, 0.35),
        softness=_uniform(rng, 2.0, 4.5),
        sharpening=_uniform(rng, 0.2, 0.9),
        noise=_uniform(rng, 1.0, 3.5),
        colour_lag=_uniform(rng, 0.002, 0.006) if rng.random() < 0.2 else 0.0,
    )


def draw_clip(config: RenderConfig, patient: PatientSpec, index: int, *, has_polyp: bool, attempt: int = 0) -> ClipSpec:
    """Draw one clip of a patient.

    Path, aim and artefacts are drawn before the polyp and independently of it, so that clips with and without one
    differ in the polyp alone.

    Args:
        config: Size, length, difficulty and seed.
        patient: The patient.
        index: Number of the clip in its set.
        has_polyp: Place a polyp where the camera looks.
        attempt: Number of earlier draws in which the polyp was hidden.
    """
    rng = np.random.default_rng([config.seed, patient.index, index, attempt, _CLIP])
    camera = _draw_camera(rng, config)
    artefacts = _draw_artefacts(rng, config.difficulty)
    lesion = _draw_lesion(rng, config.difficulty, camera)
    return ClipSpec(
        config=config,
        patient=patient,
        index=index,
        lesion=lesion if has_polyp else None,
        camera=camera,
        artefacts=artefacts,
    )


def _draw_camera(rng: np.random.Generator, config: RenderConfig) -> CameraSpec:
    duration = config.num_frames / config.fps
    speed = _uniform(rng, 0.03, 0.32) * (-1.0 if rng.random() < 0.65 else 1.0)
    # One tube length is added so that a withdrawing camera does not reach negative z.
    start = _uniform(rng, 0, TUBE_LENGTH) + TUBE_LENGTH
    in_view = float(np.clip(_between(config.difficulty, 1.2, 0.28) * _uniform(rng, 0.75, 1.3), 0.15, 1.0))
    middle = _uniform(rng, 0.5 * in_view, 1 - 0.5 * in_view)
    window = (0.0, 1.0) if in_view > 0.9 else (middle - in_view / 2, middle + in_view / 2)
    # The aim is ahead of the camera at the middle of its window, whatever the speed.
    ahead = _uniform(rng, 0.4, 1.25)
    return CameraSpec(
        start_z=start,
        speed=speed,
        offset=_uniform(rng, 0.0, 0.6),
        offset_angle=_uniform(rng, -np.pi, np.pi),
        gaze=(float(rng.normal(0, 0.07)), float(rng.normal(0, 0.07))),
        wobble=_uniform(rng, 0.02, 0.12),
        wobble_rate=_uniform(rng, 0.3, 0.9),
        roll=_uniform(rng, -np.pi, np.pi),
        roll_rate=float(rng.normal(0, 0.1)),
        aim_z=start + speed * duration * middle + ahead,
        aim_theta=_uniform(rng, -np.pi, np.pi),
        aim=_uniform(rng, 0.35, 0.95),
        aim_window=window,
        seed=int(rng.integers(2**31)),
    )


def _draw_lesion(rng: np.random.Generator, difficulty: float, camera: CameraSpec) -> LesionSpec:
    flat, stalked = _between(difficulty, 0.15, 0.6), _between(difficulty, 0.33, 0.1)
    shape: LesionShape = _choose(rng, SHAPES, (1 - flat - stalked, stalked, flat))
    # Interpolated in the logarithm, because sizes matter by their ratio.
    radius = float(np.exp(_between(difficulty, np.log(0.30), np.log(0.085)))) * _uniform(rng, 0.8, 1.25)
    if shape == "flat":
        radius *= 1.15
    heights = {"sessile": _uniform(rng, 0.6, 1.05), "pedunculated": _uniform(rng, 1.3, 1.9), "flat": 0.2}
    return LesionSpec(
        shape=shape,
        histology=_choose(rng, HISTOLOGIES, (0.6, 0.4)),
        theta=camera.aim_theta,
        z=camera.aim_z,
        radius=radius,
        height=radius * heights[shape] * (_between(difficulty, 1.1, 0.75) if shape != "pedunculated" else 1.0),
        elongation=_uniform(rng, 1.0, 1.6 if shape == "flat" else 1.35),
        rotation=_uniform(rng, -np.pi, np.pi),
        stalk=radius * _uniform(rng, 0.8, 1.6) if shape == "pedunculated" else 0.0,
        lobulation=_uniform(rng, 0.04, 0.16),
        contrast=_between(difficulty, 1.15, 0.4) * _uniform(rng, 0.8, 1.2),
        pattern_scale=_uniform(rng, 0.06, 0.11),
        seed=int(rng.integers(2**31)),
    )


def _draw_artefacts(rng: np.random.Generator, difficulty: float) -> ArtefactSpec:
    blurred = rng.random() < 0.12 + 0.2 * difficulty
    # The instrument is drawn whether it is used or not: all later draws stay the same.
    instrument = None
    drawn = InstrumentSpec(
        kind=_choose(rng, ("forceps", "snare"), (0.5, 0.5)),
        angle=_uniform(rng, 0.2, 1.3),
        reach=_uniform(rng, 0.35, 0.75),
        enter=_uniform(rng, -0.5, 0.5),
        opening=_uniform(rng, 0.15, 1.0),
        colour=_choose(
            rng, ((0.10, 0.24, 0.50), (0.62, 0.62, 0.60), (0.08, 0.36, 0.30), (0.70, 0.55, 0.12)), (1, 1, 1, 1)
        ),
    )
    if rng.random() < 0.12:
        instrument = drawn
    return ArtefactSpec(
        motion_blur=_uniform(rng, 0.004, 0.028),
        defocus=_uniform(rng, 4, 10) if blurred else 0.0,
        dimming=difficulty * _uniform(rng, 0.0, 0.5),
        lens_drops=int(rng.integers(1, 4)) if rng.random() < 0.1 else 0,
        floating_bubbles=int(rng.integers(1, 9)) if rng.random() < 0.15 else 0,
        bleeding=_uniform(rng, 0.2, 1.0) if rng.random() < 0.1 else 0.0,
        instrument=instrument,
        seed=int(rng.integers(2**31)),
    )


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _between(difficulty: float, easy: float, hard: float) -> float:
    return float(easy + (hard - easy) * difficulty)


def _choose(rng: np.random.Generator, options: Sequence[T], weights: Sequence[float]) -> T:
    cumulative = np.cumsum(np.asarray(weights, np.float64))
    return options[int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))]
