"""Specification of a synthetic clip, as frozen dataclasses: drawn once, stored in the manifest, and rendered.

Lengths are in units of the mean lumen radius (about 2.5 cm in a colon), angles in radians unless named otherwise, times
in seconds, colours linear RGB in [0, 1]. World axes: ``z`` runs along the tube, ``x`` and ``y`` across it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from endofm.errors import ConfigError

RGB = tuple[float, float, float]
LesionShape = Literal["sessile", "pedunculated", "flat"]
Histology = Literal["adenomatous", "hyperplastic"]
FieldShape = Literal["octagon", "round", "cut_round"]
PanelKind = Literal["none", "overlay", "side"]
InstrumentKind = Literal["forceps", "snare"]

SHAPES: tuple[LesionShape, ...] = get_args(LesionShape)
HISTOLOGIES: tuple[Histology, ...] = get_args(Histology)

TUBE_LENGTH = 16.0
"""Length of a patient's tube, after which it repeats: anatomy, axis and texture are periodic in ``z``."""

NOTICE = "SYNTHETIC: rendered by endofm from random numbers. Shows no patient and is not for clinical use."
"""Sentence that accompanies every rendered file."""


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Size, length and difficulty of the clips.

    Attributes:
        width: Frame width in pixels.
        height: Frame height in pixels.
        num_frames: Frames per clip.
        fps: Frames per second; sets how far the camera moves between frames.
        difficulty: 0 (large, raised, well lit polyps that stay in view) to 1 (small, flat, dim, in view briefly).
        seed: Seed of all random choices; patients and clips are numbered within it.
    """

    width: int = 112
    height: int = 112
    num_frames: int = 16
    fps: float = 10.0
    difficulty: float = 0.4
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("width", 32), ("height", 32), ("num_frames", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"RenderConfig.{name} must be an integer >= {least}, got {value!r}")
        if max(self.width, self.height) > 2048:
            raise ConfigError(f"RenderConfig: frames of {self.width} x {self.height} are larger than 2048 pixels")
        if not 0.5 <= self.fps <= 120:
            raise ConfigError(f"RenderConfig.fps must be between 0.5 and 120, got {self.fps!r}")
        if not 0 <= self.difficulty <= 1:
            raise ConfigError(f"RenderConfig.difficulty must be between 0 and 1, got {self.difficulty!r}")


@dataclass(frozen=True, kw_only=True)
class AnatomySpec:
    """Shape of a patient's tube.

    Attributes:
        fold_spacing: Mean distance between the folds of one wall sector.
        fold_height: Mean height of a fold.
        fold_width: Thickness of a fold's crest.
        fold_arc: Half the angle that a fold spans.
        triangularity: How much the three taeniae flatten the cross-section.
        bend: Largest slope of the axis against ``z``.
        calibre_variation: Relative variation of the radius along the tube.
        gravity_angle: Angle around the axis of the lowest line, where fluid and stool gather.
        pooling: Fraction of the tube whose lowest line is under standing fluid.
    """

    fold_spacing: float
    fold_height: float
    fold_width: float
    fold_arc: float
    triangularity: float
    bend: float
    calibre_variation: float
    gravity_angle: float
    pooling: float


@dataclass(frozen=True, kw_only=True)
class TissueSpec:
    """Appearance of a patient's mucosa, and residue on it.

    Attributes:
        albedo: Diffuse reflectance of plain mucosa.
        mottling: Strength of slow colour variation.
        vessel_density: Vascular trees per unit of wall area.
        vessel_contrast: How much light a vessel absorbs.
        gloss: Strength of the wet film's reflection.
        roughness: Strength of the fine relief that breaks highlights into glints.
        film: Amount of yellow mucus and bile, 0 to 1.
        stool: Amount of solid residue, 0 to 1.
        bubbles: Amount of foam, 0 to 1.
        blood: Amount of blood spots and streaks, 0 to 1.
        film_colour: Colour of mucus and bile.
        stool_colour: Colour of solid residue.
    """

    albedo: RGB
    mottling: float
    vessel_density: float
    vessel_contrast: float
    gloss: float
    roughness: float
    film: float
    stool: float
    bubbles: float
    blood: float
    film_colour: RGB
    stool_colour: RGB


@dataclass(frozen=True, kw_only=True)
class ScopeSpec:
    """The endoscope and its processor.

    Attributes:
        field_shape: Outline of the picture inside the black frame.
        field_degrees: Angle of view across the field's longer side.
        distortion: 0 for equal angles per pixel, positive for a stretched centre.
        panel: Text beside the picture (``"side"``), over its corner (``"overlay"``), or none.
        panel_lines: The text, one entry per line; its first line says that the picture is synthetic.
        gain: White balance as gains of the channels.
        exposure: Brightness target of the automatic exposure, relative to 1.
        contrast: Exponent of the tone curve, 1 is neutral.
        light_offset: Distance of the two light guides from the lens.
        light_angle: Direction of the line through both, in the image plane.
        vignette: Light lost towards the rim, 0 to 1.
        softness: Width of the optical blur in thousandths of the picture's width.
        sharpening: Strength of the processor's edge enhancement.
        noise: Standard deviation of sensor noise, in grey levels.
        colour_lag: Seconds between the red, green and blue exposure; 0 for a sensor that sees all colours at once.
    """

    field_shape: FieldShape
    field_degrees: float
    distortion: float
    panel: PanelKind
    panel_lines: tuple[str, ...]
    gain: RGB
    exposure: float
    contrast: float
    light_offset: float
    light_angle: float
    vignette: float
    softness: float
    sharpening: float
    noise: float
    colour_lag: float


@dataclass(frozen=True, kw_only=True)
class PatientSpec:
    """One synthetic patient, with the scope.

    Attributes:
        seed: Seed of the set.
        index: Number of the patient within that seed.
        anatomy: Shape of the tube.
        tissue: Appearance of the mucosa.
        scope: Endoscope and processor.
    """

    seed: int
    index: int
    anatomy: AnatomySpec
    tissue: TissueSpec
    scope: ScopeSpec

    @property
    def name(self) -> str:
        """Name in lists and manifests, e.g. ``"patient-003"``."""
        return f"patient-{self.index:03d}"


@dataclass(frozen=True, kw_only=True)
class LesionSpec:
    """One polyp.

    Attributes:
        shape: Sessile, pedunculated or flat.
        histology: Class of its boxes; determines the surface pattern.
        theta: Angle around the axis of its base.
        z: Position along the tube of its base.
        radius: Half its width.
        height: Height of its body over the mucosa (of the head, for a pedunculated one).
        elongation: Length over width, >= 1.
        rotation: Direction of its long side in the wall.
        stalk: Length of the stalk, 0 unless pedunculated.
        lobulation: Depth of the lobes relative to ``radius``.
        contrast: Difference of its colour from the mucosa, 1 is typical.
        pattern_scale: Size of the surface pattern relative to ``radius``.
        seed: Seed of its outline and lobes.
    """

    shape: LesionShape
    histology: Histology
    theta: float
    z: float
    radius: float
    height: float
    elongation: float
    rotation: float
    stalk: float
    lobulation: float
    contrast: float
    pattern_scale: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """Path and aim of the camera.

    Attributes:
        start_z: Position along the tube at time 0.
        speed: Speed along the tube per second; negative for withdrawal.
        offset: Distance from the axis as a fraction of the free radius.
        offset_angle: Direction of that offset around the axis.
        gaze: Constant turn of the view away from the lumen, ``(yaw, pitch)``.
        wobble: Amplitude of the hand's and the gut's motion.
        wobble_rate: Its main frequency in Hz.
        roll: Rotation of the picture at time 0.
        roll_rate: Rotation per second.
        aim_z: Position along the tube of the point that the view is drawn to.
        aim_theta: Angle around the axis of that point.
        aim: Strength of the aim, 0 (looks along the lumen) to 1 (looks at the point).
        aim_window: First and last moment of the aim, as fractions of the clip.
        seed: Seed of the phases of the wobble.
    """

    start_z: float
    speed: float
    offset: float
    offset_angle: float
    gaze: tuple[float, float]
    wobble: float
    wobble_rate: float
    roll: float
    roll_rate: float
    aim_z: float
    aim_theta: float
    aim: float
    aim_window: tuple[float, float]
    seed: int


@dataclass(frozen=True, kw_only=True)
class InstrumentSpec:
    """A tool pushed out of the working channel.

    Attributes:
        kind: Biopsy forceps or a snare.
        angle: Direction of the channel around the lens in the picture.
        reach: Largest distance of the tip from the lens.
        enter: Moment at which it appears, as a fraction of the clip; below 0 it is visible from the start.
        opening: Opening of jaws or loop, 0 to 1.
        colour: Colour of the sheath.
    """

    kind: InstrumentKind
    angle: float
    reach: float
    enter: float
    opening: float
    colour: RGB


@dataclass(frozen=True, kw_only=True)
class ArtefactSpec:
    """Image artefacts.

    Attributes:
        motion_blur: Exposure time in seconds.
        defocus: Radius of blur in thousandths of the picture's width.
        dimming: Fraction of the light that is missing.
        lens_drops: Number of drops of water on the lens.
        floating_bubbles: Number of bubbles that drift in front of the lens.
        bleeding: Strength of blood oozing from a spot near the aim, 0 to 1.
        instrument: A tool in view, or None.
        seed: Seed of drops, bubbles and noise.
    """

    motion_blur: float
    defocus: float
    dimming: float
    lens_drops: int
    floating_bubbles: int
    bleeding: float
    instrument: InstrumentSpec | None
    seed: int


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """Complete input of one rendered clip; two equal specs give the same bits.

    Attributes:
        config: Size, length and difficulty.
        patient: The patient, with the scope.
        index: Number of the clip in its set.
        lesion: The polyp, or None for a clip without one.
        camera: Path and aim.
        artefacts: Image artefacts.
    """

    config: RenderConfig
    patient: PatientSpec
    index: int
    lesion: LesionSpec | None
    camera: CameraSpec
    artefacts: ArtefactSpec

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)
