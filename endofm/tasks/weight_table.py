"""The registered weights of this package: one record each.

Add a weight here, one that ships with the package in :mod:`endofm.tasks.packaged_records`, that of another project in
:mod:`endofm.tasks.family_records` (video) or :mod:`endofm.tasks.image_records`, and nowhere else; loading,
``endofm models``, cards and the tables of the documentation follow.
"""

from __future__ import annotations

from typing import Literal

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.hub.weight_record import Mirror, Score, WeightRecord
from endofm.tasks.classification.config import ClassificationHeadConfig
from endofm.tasks.classification.layout import published_preprocess as published_classifier_preprocess
from endofm.tasks.detection.config import DetectionHeadConfig
from endofm.tasks.detection.layout import KUMC_LABELS
from endofm.tasks.family_records import VIDEO_RECORDS
from endofm.tasks.image_records import IMAGE_RECORDS
from endofm.tasks.packaged_records import PACKAGED_RECORDS
from endofm.tasks.segmentation.config import SegmentationHeadConfig
from endofm.tasks.segmentation.layout import published_preprocess

_PUBLISHED_SHA256 = "6fc7a64a044f1eff3b7f9eb233df37a3607735848d534364f12c2aebad1aea70"
"""sha256 of the authors' 2.2 GB ``endo_fm.pth``, from independent public inspections of the file behind their link."""

_PAPER = "https://arxiv.org/abs/2306.16741"

_ENDOFM_BASE = WeightRecord(
    name="endofm-base-8x224",
    description="Endo-FM backbone as published: ViT-B/16, 8 frames, self-supervised on 33K endoscopy clips",
    config=ModelConfig(encoder=EncoderConfig.preset("base"), name="endofm-base-8x224", license="apache-2.0"),
    mirrors=(
        Mirror(
            url="https://drive.usercontent.google.com/download?id=1H7B91Ewm4QkZRsnUk1Bn0IQch5P8C7Xl&export=download&confirm=t",
            page="https://drive.google.com/file/d/1H7B91Ewm4QkZRsnUk1Bn0IQch5P8C7Xl/view",
            filename="endo_fm.pth",
            sha256=_PUBLISHED_SHA256,
            layout="checkpoint",
            status="The link in the authors' README since April 2026, a personal drive. Believed alive: independent "
            "projects report fetching the 2.2 GB file through it in July and August 2026. Not tried by us.",
        ),
        Mirror(
            page="https://mycuhk-my.sharepoint.com/:u:/g/personal/1155167044_link_cuhk_edu_hk/EZh5mWE5CL1BpaJ1bXuokfYBDM2VaMknqG7YpaQBRgAvdQ?e=e2rVYW",
            filename="endo_fm.pth",
            sha256=_PUBLISHED_SHA256,
            layout="checkpoint",
            status="The authors' first link, on a university drive. Believed dead: links of the same account have been "
            "reported dead since April 2026, when the authors replaced it. Not tried by us.",
        ),
    ),
    license="apache-2.0",
    license_note="The licence of the authors' repository; their README does not mention the weights separately.",
    # Names and counts: table of data sets in the README of med-air/Endo-FM.
    datasets=(
        "Colonoscopic (210 clips)",
        "SUN and SUN-SEG (1,018 clips)",
        "LDPolypVideo (237 clips)",
        "Hyper-Kvasir (5,704 clips)",
        "Kvasir-Capsule (1,000 clips)",
        "CholecTriplet (580 clips)",
        "private colonoscopy of the Baoshan Branch of Renji Hospital (16,494 clips)",
        "private gastroscopy of the Baoshan Branch of Renji Hospital (7,653 clips)",
    ),
    datasets_held_out=("CVC-12k", "KUMC"),
    overlaps=(
        "PolypDiag is compiled from videos of Hyper-Kvasir and LDPolypVideo. The authors confirm (issue 9 of their "
        "repository) that these videos were not taken out of pre-training, so PolypDiag scores are not scores on "
        "unseen videos.",
    ),
    scores=tuple(
        Score(dataset=dataset, task=task, metric=metric, value=value, source=source)
        for source, values in (
            ("paper, after fine-tuning", (90.7, 73.9, 84.1)),
            ("authors' README, their fine-tuned weights", (91.5, 76.6, 84.0)),
        )
        for (dataset, task, metric), value in zip(
            (
                ("PolypDiag", "classification", "F1 (%)"),
                ("CVC-12k", "segmentation", "Dice (%)"),
                ("KUMC", "detection", "F1 (%)"),
            ),
            values,
            strict=True,
        )
    ),
    paper=_PAPER,
    notes=(
        "The scores are the authors' and belong to models fine-tuned from this backbone. They were not measured again.",
        "The PolypDiag scores are the best of 20 epochs, selected on the reported list.",
        "The weights are the teacher of the training checkpoint, which is what the authors' own tasks use.",
        "Most of the training videos come from one hospital and show the colon.",
    ),
)


def _random(size: str) -> WeightRecord:
    name = f"endofm-{size}-8x224-random"
    return WeightRecord(
        name=name,
        description="Untrained: random weights from a fixed seed, for trying the software. Its features mean nothing",
        config=ModelConfig(encoder=EncoderConfig.preset(size), name=name, trained=False, license="apache-2.0"),
        license="apache-2.0",
        random_seed=0,
        notes=("Nothing was learned: the features mean nothing, and no result from them says anything about a video.",),
    )


def _random_segmentation(size: str, network: Literal["hybrid", "light"]) -> WeightRecord:
    name = f"endofm-segmentation-{size}-random"
    preprocess = published_preprocess() if network == "hybrid" else PreprocessConfig.whole_frame(224)
    return WeightRecord(
        name=name,
        description=f"Untrained {network} segmentation model: random weights from a fixed seed, for trying the "
        "software. Its masks mean nothing",
        config=ModelConfig(
            encoder=EncoderConfig.preset(size),
            preprocess=preprocess,
            head=SegmentationHeadConfig(labels=("background", "polyp"), network=network),
            name=name,
            trained=False,
            license="apache-2.0",
        ),
        license="apache-2.0",
        random_seed=0,
        notes=(
            "Nothing was learned: the masks mean nothing, and no result from them says anything about a video.",
            *_SEGMENTATION_NOTES[network],
        ),
    )


_RANDOM_CLASSIFIER = WeightRecord(
    name="endofm-classification-tiny-random",
    description="Untrained video classifier: random weights from a fixed seed, for trying the software. Its "
    "probabilities mean nothing",
    config=ModelConfig(
        encoder=EncoderConfig.preset("tiny"),
        preprocess=published_classifier_preprocess(EncoderConfig.preset("tiny")),
        head=ClassificationHeadConfig(labels=("normal", "abnormal")),
        name="endofm-classification-tiny-random",
        trained=False,
        license="apache-2.0",
    ),
    license="apache-2.0",
    random_seed=0,
    notes=(
        "Nothing was learned: the probabilities mean nothing, and no result from them says anything about a video.",
        "Head, labels and preprocessing of the authors' polypdiag.pth, which is read with `endofm convert`. That file "
        "has no record, because its checksum is unknown.",
        "Scores on PolypDiag are not scores on unseen videos: it is compiled from videos of Hyper-Kvasir and "
        "LDPolypVideo, which Endo-FM was pre-trained on.",
    ),
)

_SEGMENTATION_NOTES = {
    "hybrid": (
        "Architecture and preprocessing of the authors' cvc.pth, which is read with `endofm convert`: blue comes "
        "first, and the values of every frame are stretched to the full range twice.",
        "That file has no record, because its checksum is unknown. Seven of the nine clips of the "
        "list that its published Dice was measured on are in the authors' training list as well.",
    ),
    "light": (),
}

_RANDOM_DETECTOR = WeightRecord(
    name="endofm-detection-tiny-random",
    description="Untrained detector: random weights from a fixed seed, for trying the software. Its boxes mean nothing",
    config=ModelConfig(
        encoder=EncoderConfig.preset("tiny", depth=4),
        preprocess=PreprocessConfig.fitted_frame(320, num_frames=1),
        head=DetectionHeadConfig(labels=KUMC_LABELS, channels=64),
        name="endofm-detection-tiny-random",
        trained=False,
        license="apache-2.0",
    ),
    license="apache-2.0",
    random_seed=0,
    notes=("Nothing was learned: the boxes mean nothing, and no result from them says anything about a video.",),
)

RECORDS = (
    _ENDOFM_BASE,
    *PACKAGED_RECORDS,
    _random("tiny"),
    _random("small"),
    _random("base"),
    _RANDOM_CLASSIFIER,
    _random_segmentation("tiny", "light"),
    _random_segmentation("base", "hybrid"),
    _RANDOM_DETECTOR,
    *VIDEO_RECORDS,
    *IMAGE_RECORDS,
)
