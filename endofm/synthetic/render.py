"""Rendering a clip from its spec: frames, masks, boxes and labels.

Each frame takes four steps: trace (rays to hits), light (hits to linear light), develop (light to the processor's
picture) and label (masks to boxes). Everything but the tables of a patient is computed anew for every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from endofm.synthetic.anatomy import Anatomy, build_anatomy
from endofm.synthetic.artefacts import bleed, draw_bubbles, image_motion, smear, wet_lens
from endofm.synthetic.camera import Pose, camera_path
from endofm.synthetic.instrument import Tool
from endofm.synthetic.lesions import Lesion, place_lesion
from endofm.synthetic.march import MAX_RANGE, Hits, march
from endofm.synthetic.noise import Float32Array, smoothstep
from endofm.synthetic.scope import Field, build_field
from endofm.synthetic.shading import lamp_positions, shade
from endofm.synthetic.specs import ClipSpec, PatientSpec
from endofm.synthetic.surface import Surface, face_viewer, wall_surface
from endofm.synthetic.texture import Atlas, build_atlas
from endofm.synthetic.video_processor import add_noise, blur, exposure_gain, sharpen, tone
from endofm.video.frames import UInt8Array

MIN_AREA_FRACTION = 0.0008
"""Fraction of a frame that a polyp's mask must cover to count as in view: 10 pixels at 112 x 112."""

_RAYS_AT_ONCE = 170_000
"""Rays that are traced together: enough to amortise numpy's overhead, few enough to stay in the cache."""
_FINE_FROM = 160
"""Frame size in pixels from which the finer texture is painted."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class SyntheticClip:
    """A rendered clip with its annotation.

    Attributes:
        frames: uint8 ``(time, height, width, 3)``, RGB.
        masks: uint8 ``(time, height, width)``, 255 where the pixel's ray meets the polyp first, 0 elsewhere.
        boxes: For each frame the smallest boxes ``(x0, y0, x1, y1)`` around its mask in pixels: the first column and
            row inside, and the first ones outside. Empty where the polyp is not in view.
        class_names: Class of each box, frame by frame: ``"adenomatous"`` or ``"hyperplastic"``.
        label: 1 if a polyp is in view in at least one frame, else 0.
        kind: ``"none"``, or shape and histology, e.g. ``"sessile adenomatous"``.
        patient: Name of the patient.
        parameters: The spec as plain JSON values.
    """

    frames: UInt8Array
    masks: UInt8Array
    boxes: tuple[tuple[Box, ...], ...]
    class_names: tuple[tuple[str, ...], ...]
    label: int
    kind: str
    patient: str
    parameters: dict[str, Any]


@dataclass(frozen=True, eq=False)
class World:
    """Tables and texture that all clips of one patient share."""

    anatomy: Anatomy
    atlas: Atlas


@lru_cache(maxsize=2)
def build_world(patient: PatientSpec, fine: bool) -> World:
    """Compute a patient's tables and texture; those of the last two patients are cached."""
    return World(build_anatomy(patient), build_atlas(patient, fine=fine))


def render_clip(spec: ClipSpec) -> SyntheticClip:
    """Render a clip. Equal specs give equal bits, whatever was rendered before.

    Args:
        spec: From :func:`~endofm.synthetic.population.draw_clip`, or written directly.
    """
    config, scope = spec.config, spec.patient.scope
    world = build_world(spec.patient, min(config.width, config.height) >= _FINE_FROM)
    field = build_field(scope, config.height, config.width)
    poses = camera_path(spec.camera, config, world.anatomy)
    lesion = None if spec.lesion is None else place_lesion(spec.lesion, world.anatomy)
    directions, in_drop = wet_lens(spec.artefacts, field, field.directions)
    frames = np.empty((config.num_frames, config.height, config.width, 3), np.uint8)
    masks = np.zeros((config.num_frames, config.height, config.width), np.uint8)
    gain = 0.0
    batch = max(_RAYS_AT_ONCE // len(field.pixels), 1)
    for first in range(0, config.num_frames, batch):
        numbers = range(first, min(first + batch, config.num_frames))
        hits = _trace(world.anatomy, field, directions, in_drop, [poses[k] for k in numbers], lesion)
        for k, hit in zip(numbers, hits, strict=True):
            light, on_lesion = _light(spec, world, field, directions, poses[k], hit, lesion, k)
            # The automatic exposure follows the light with a lag of about two frames.
            metered = exposure_gain(light, scope, spec.artefacts.dimming)
            gain = metered if k == 0 else gain + 0.45 * (metered - gain)
            motion = image_motion(field, hit.points, poses[k], poses[k + 1])
            frames[k] = _develop(spec, field, light, gain, motion, in_drop, k)
            masks[k].ravel()[field.pixels] = on_lesion * np.uint8(255)
            masks[k][field.cover < 0.5] = 0
    return _label(spec, frames, masks)


def _trace(
    anatomy: Anatomy,
    field: Field,
    directions: Float32Array,
    in_drop: Float32Array,
    poses: list[Pose],
    lesion: Lesion | None,
) -> list[Hits]:
    """Return the first hits of some frames; rays get a head start from a coarse picture of the same frames."""
    # One ray for every 4 x 4 pixels against the bare wall costs a sixteenth and spares the other rays most steps.
    rows, columns = field.coarse_shape
    starts = np.concatenate(
        [np.repeat(p.position.astype(np.float32)[:, None], rows * columns, axis=1) for p in poses], 1
    )
    coarse = march(anatomy, starts, np.concatenate([p.rays(field.coarse_directions) for p in poses], axis=1))
    grid = np.pad(coarse.distance.reshape(len(poses), rows, columns), ((0, 0), (1, 1), (1, 1)), mode="edge")
    # A pixel's wall can be nearer than its block's ray found: take the minimum of a block and its eight neighbours...
    grid = np.minimum(np.minimum(grid[:, :-2], grid[:, 1:-1]), grid[:, 2:])
    grid = np.minimum(np.minimum(grid[:, :, :-2], grid[:, :, 1:-1]), grid[:, :, 2:])
    # ... less 12 % for what lies between the rays. Rays bent by a drop look elsewhere and start at the lens.
    dry = np.float32(0.88) * (in_drop == 0)
    n = directions.shape[1]
    start = np.concatenate([np.maximum(g.ravel().take(field.coarse_index) * dry, np.float32(0.01)) for g in grid])
    origins = np.concatenate([np.repeat(p.position.astype(np.float32)[:, None], n, axis=1) for p in poses], axis=1)
    hits = march(anatomy, origins, np.concatenate([p.rays(directions) for p in poses], axis=1), lesion, start)
    return [Hits(hits.distance[i : i + n], hits.points[:, i : i + n]) for i in range(0, n * len(poses), n)]


def _light(
    spec: ClipSpec,
    world: World,
    field: Field,
    directions: Float32Array,
    pose: Pose,
    hits: Hits,
    lesion: Lesion | None,
    k: int,
) -> tuple[Float32Array, npt.NDArray[np.bool_]]:
    """Return the light of one frame, linear RGB ``(3, n)``, and the mask of the polyp over its pixels."""
    rays = pose.rays(directions)
    surface = wall_surface(spec.patient, world.anatomy, world.atlas, hits, rays, field.pixel_angle)
    on_lesion = np.zeros(rays.shape[1], np.bool_)
    if lesion is not None:
        on_lesion = lesion.paint(surface, world.anatomy, spec.patient)
    if spec.artefacts.bleeding > 0:
        spot = world.anatomy.wall_point(spec.camera.aim_z, spec.camera.aim_theta + 0.25)
        angle = spec.patient.anatomy.gravity_angle
        down = np.array([np.cos(angle), np.sin(angle), 0.0])
        bleed(surface, spot, down, spec.artefacts.bleeding, spec.artefacts.seed)
    distance = hits.distance
    if spec.artefacts.instrument is not None:
        distance = _add_tool(spec, pose, directions, surface, hits, on_lesion, k)
    face_viewer(surface.normals, rays, 0.03)
    face_viewer(surface.smooth_normals, rays, 0.03)
    lamps = lamp_positions(pose, spec.patient.scope)[:, :, None]
    light = shade(surface, rays, distance, lamps)
    # Vignetting grows with a high power of the radius: only the rim is dark. Light fades out before rays end.
    light *= 1 - np.float32(spec.patient.scope.vignette) * field.radius**4
    light *= smoothstep(MAX_RANGE, 0.6 * MAX_RANGE, distance)
    return light, on_lesion


def _add_tool(
    spec: ClipSpec,
    pose: Pose,
    directions: Float32Array,
    surface: Surface,
    hits: Hits,
    on_lesion: npt.NDArray[np.bool_],
    k: int,
) -> Float32Array:
    """Put the instrument in front of the wall, in place; return the distances with it."""
    instrument = spec.artefacts.instrument
    assert instrument is not None
    # Two slow sines of unrelated rates; the seed picks a phase between 0 and 2 pi.
    seconds, phase = k / spec.config.fps, spec.artefacts.seed % 628 / 100
    sway = (0.035 * float(np.sin(2.1 * seconds + phase)), 0.035 * float(np.sin(2.9 * seconds + 2 * phase)))
    tool = Tool(instrument, k / spec.config.num_frames, sway).hits(directions)
    if tool is None:
        return hits.distance
    nearer = np.flatnonzero(tool.distance < hits.distance.take(tool.index))
    # Painter's rule per pixel: where the tool is nearer than the wall, it replaces the surface.
    index, t = tool.index.take(nearer), tool.distance.take(nearer)
    distance = hits.distance.copy()
    distance[index] = t
    world_rays = pose.rays(directions.take(index, axis=1))
    normals = pose.rays(tool.normals.take(nearer, axis=1))
    surface.points[:, index] = world_rays * t + pose.position.astype(np.float32)[:, None]
    surface.normals[:, index] = normals
    surface.smooth_normals[:, index] = normals
    surface.albedo[:, index] = tool.albedo.take(nearer, axis=1)
    surface.gloss[index] = tool.gloss.take(nearer)
    surface.hidden[index] = 0
    on_lesion[index] = False
    return distance


def _develop(
    spec: ClipSpec,
    field: Field,
    light: Float32Array,
    gain: float,
    motion: Float32Array,
    in_drop: Float32Array,
    k: int,
) -> UInt8Array:
    """Turn light into the output frame of the video processor, uint8 ``(height, width, 3)``."""
    scope, artefacts = spec.patient.scope, spec.artefacts
    shape = (3, field.height, field.width)
    picture: Float32Array = np.zeros(shape, np.float32)
    # Highlights far above white would outshine everything around once blurred.
    picture.reshape(3, -1)[:, field.pixels] = np.minimum(light, np.float32(6 / max(gain, 1e-3)))
    # In the order of the real chain: sensor (motion, colour lag) in linear light, tone curve, optics, processor.
    picture = smear(picture, field, motion, artefacts.motion_blur * spec.config.fps, scope.colour_lag * spec.config.fps)
    picture = tone(picture.reshape(3, -1), gain, scope).reshape(shape)
    focus = scope.softness + artefacts.defocus * (0.6 + 0.4 * np.sin(1.7 * k / spec.config.fps + artefacts.seed % 7))
    sigma = float(focus) / 1000 * field.width
    picture = blur(picture, max(sigma, 0.4))
    if artefacts.lens_drops:
        wet = np.zeros(field.height * field.width, np.float32)
        wet[field.pixels] = in_drop
        picture += (blur(picture, 0.018 * field.width) - picture) * wet.reshape(1, field.height, field.width)
    picture = sharpen(picture, scope.sharpening, max(0.006 * field.width, 0.7))
    if artefacts.floating_bubbles:
        draw_bubbles(picture, field, artefacts, k / spec.config.fps)
    add_noise(picture, scope.noise, np.random.default_rng([artefacts.seed, k, 17]))
    # The black frame and its panel cover what is outside of the field; overlay text is white over everything.
    picture *= field.cover
    picture += field.frame.transpose(2, 0, 1) * ((1 - field.cover) * np.float32(1 / 255))
    picture += (1 - picture) * field.overlay
    picture *= np.float32(255)
    return np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def _label(spec: ClipSpec, frames: UInt8Array, masks: UInt8Array) -> SyntheticClip:
    """Return the clip with boxes and labels from its masks."""
    least = MIN_AREA_FRACTION * spec.config.height * spec.config.width
    boxes, names = [], []
    for mask in masks:
        if np.count_nonzero(mask) < least:
            # No annotator would mark a speck behind a fold.
            mask[:] = 0
        box = mask_box(mask)
        boxes.append(() if box is None else (box,))
        names.append(() if box is None or spec.lesion is None else (spec.lesion.histology,))
    label = int(any(boxes))
    kind = f"{spec.lesion.shape} {spec.lesion.histology}" if spec.lesion is not None and label else "none"
    return SyntheticClip(
        frames=frames,
        masks=masks,
        boxes=tuple(boxes),
        class_names=tuple(names),
        label=label,
        kind=kind,
        patient=spec.patient.name,
        parameters=spec.to_dict(),
    )


def mask_box(mask: UInt8Array) -> Box | None:
    """Return the smallest box ``(x0, y0, x1, y1)`` around a mask, or None if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
