"""Records of the weights that ship with the package; ``recipes/`` holds the commands that made them.

They have no checksum: a file is part of the same commit as its record, and its card states its own.
"""

from __future__ import annotations

from dataclasses import replace

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.hub.weight_record import WeightRecord
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.detection.config import DetectionHeadConfig
from endofm.tasks.segmentation.config import SegmentationHeadConfig

_LICENSE_NOTE = "Trained by this package's code on pictures under CC BY 4.0 and the MIT licence, named with the data"

_ENDOFM_NANO = WeightRecord(
    name="endofm-nano-4x96",
    description="Ships with the package: small, taught by an ImageNet network on 1,311 pictures, to try the software",
    config=ModelConfig(
        encoder=EncoderConfig(img_size=96, num_frames=4, embed_dim=192, depth=4, num_heads=3),
        preprocess=PreprocessConfig.whole_frame(96, num_frames=4, antialias=True),
        name="endofm-nano-4x96",
        license="apache-2.0",
    ),
    packaged=True,
    license="apache-2.0",
    license_note=_LICENSE_NOTE,
    datasets=(
        "698 colonoscopy stills, the training part of Kvasir-SEG (Jha et al., MMM 2020; part of HyperKvasir, Borgli et "
        "al., Scientific Data 2020), CC BY 4.0, without masks",
        "378 frames of laryngoscopy of one patient (Laves et al., IJCARS 2019), CC BY 4.0, without labels",
        "183 stills of twelve laparoscopic operations (github.com/egoodman92/laparoscopic-dataset), MIT",
        "52 frames of three recordings under the MIT licence: laparoscopy (github.com/RViMLab/endoscopy, "
        "github.com/luiscarlosgph/videosum) and a robot in a bowel phantom (RViMLab)",
    ),
    notes=(
        "It is for trying the software: a small network, minutes of training, few hospitals.",
        "Its teacher, EfficientNet-Lite0, was trained with the labels of ImageNet: its features are not purely "
        "self-supervised.",
        "Nearly all clips in training were stills under a virtual camera: it has not learnt what moves and how.",
    ),
)

_KVASIR = (
    "stills of Kvasir-SEG with masks (Jha et al., MMM 2020; part of HyperKvasir, Borgli et al., Scientific Data 2020), "
    "CC BY 4.0"
)
_ENCODER_DATA = "without labels, those of endofm-nano-4x96, from which it was trained further"
_STILL_ENCODER = EncoderConfig(
    img_size=160, num_frames=1, embed_dim=192, depth=4, num_heads=3, table_resize="bicubic"
)  # of single stills, so that it has one entry in its table of times
_SMALL = "It is for trying the software: a small network, minutes of training, one collection of stills."


def _trained_further(
    name: str,
    description: str,
    config: ModelConfig,
    datasets: tuple[str, ...],
    notes: tuple[str, ...],
) -> WeightRecord:
    return WeightRecord(
        name=name,
        description=description,
        config=replace(config, name=name, license="apache-2.0"),
        packaged=True,
        license="apache-2.0",
        license_note=_LICENSE_NOTE,
        datasets=(*datasets, _ENCODER_DATA),
        notes=(_SMALL, *notes),
    )


_POLYP_MASKS = _trained_further(
    "endofm-nano-polyp-masks",
    "Ships with the package: masks of polyps in colonoscopy, small, trained on 599 stills, to try the software",
    ModelConfig(
        encoder=_STILL_ENCODER,
        preprocess=PreprocessConfig.whole_frame(192, num_frames=1, antialias=True),
        head=SegmentationHeadConfig(labels=("background", "polyp"), network="light", light_width=96),
    ),
    (f"599 {_KVASIR}",),
    ("Every still in training shows a polyp: a mask is no sign of one.",),
)

_POLYP_BOXES = _trained_further(
    "endofm-nano-polyp-boxes",
    "Ships with the package: boxes of polyps in colonoscopy, small, trained on 599 stills, to try the software",
    ModelConfig(
        encoder=_STILL_ENCODER,
        preprocess=PreprocessConfig.fitted_frame(160, num_frames=1, antialias=True),
        head=DetectionHeadConfig(
            labels=("polyp",), channels=32, tower_depth=2, norm_groups=4, num_supports=0, min_score=0.7
        ),
    ),
    (f"599 {_KVASIR}",),
    ("Every still in training shows a polyp: false alarms in frames without one are not known.",),
)

_ORGANS = _trained_further(
    "endofm-nano-organs",
    "Ships with the package: colon, larynx or abdomen, small, trained on 861 stills, to try the software",
    ModelConfig(
        encoder=_ENDOFM_NANO.config.encoder,
        preprocess=_ENDOFM_NANO.config.preprocess,
        head=ClassificationHeadConfig(labels=("colon", "larynx", "abdomen"), dropout=0.1),
    ),
    (
        f"599 {_KVASIR}",
        "148 frames of laryngoscopy of one patient (Laves et al., IJCARS 2019), CC BY 4.0",
        "114 stills of eight laparoscopic operations (github.com/egoodman92/laparoscopic-dataset), MIT",
    ),
    ("It answers one of three, whatever it is shown, and may go by scopes and colours instead of organs.",),
)

PACKAGED_RECORDS = (_ENDOFM_NANO, _POLYP_MASKS, _POLYP_BOXES, _ORGANS)
