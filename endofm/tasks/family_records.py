"""Records of encoders that others published: what is known of each, how, and what is not.

No file named here could be downloaded when the records were written: names, shapes and layouts come from the projects'
code, pages and issues, and from other people's inspections. Where a fact is not known, the record does not state it.
"""

from __future__ import annotations

from dataclasses import replace

from endofm.config import BaseEncoderConfig, EncoderConfig, ModelConfig, PreprocessConfig
from endofm.hub.vit_layouts import MINUTE_SECONDS
from endofm.hub.weight_record import Mirror, WeightRecord

NOT_TRIED = "Not tried by us: nothing could be downloaded when this was written"


def model_config(
    name: str, encoder: BaseEncoderConfig, *, license: str, preprocess: PreprocessConfig | None = None
) -> ModelConfig:
    """Return the configuration of trained weights; by default with the preprocessing of Endo-FM's pre-training."""
    preprocess = preprocess or PreprocessConfig.for_image_size(encoder.img_size, num_frames=encoder.num_frames)
    return ModelConfig(encoder=encoder, preprocess=preprocess, name=name, license=license)


def random_record(
    name: str, family: str, encoder: BaseEncoderConfig, preprocess: PreprocessConfig | None = None
) -> WeightRecord:
    """Return the record of a tiny encoder with random weights, to try the software with."""
    config = model_config(name, encoder, license="apache-2.0", preprocess=preprocess)
    return WeightRecord(
        name=name,
        description=f"Untrained: the network of {family}, tiny, with random weights from a fixed seed. Its features "
        "mean nothing",
        config=replace(config, trained=False),
        family=family,
        license="apache-2.0",
        random_seed=0,
        notes=("Nothing was learned: the features mean nothing, and no result from them says anything about a video.",),
    )


_TINY = EncoderConfig(img_size=64, embed_dim=64, depth=2, num_heads=1)
_LV = replace(EncoderConfig(), num_frames=32)

SPACE_TIME_RECORDS = (
    WeightRecord(
        name="endofm-lv-base-32x224",
        description="EndoFM-LV: the Endo-FM encoder for 32 frames of about a minute",
        config=model_config(
            "endofm-lv-base-32x224",
            _LV,
            license="apache-2.0",
            preprocess=PreprocessConfig.for_image_size(224, num_frames=32, window_seconds=MINUTE_SECONDS),
        ),
        family="EndoFM-LV",
        mirrors=(
            Mirror(
                page="https://github.com/med-air/EndoFM-LV",
                filename="endofm_lv.pth",
                status="The repository's links lead to a university drive and are reported dead (its issues 2 and 4, "
                f"2026). {NOT_TRIED}.",
            ),
        ),
        license="apache-2.0",
        license_note="The licence of the authors' repository, which does not mention the weights separately.",
        notes=("The window of a minute is ours: the pre-training views span clips that last 68 s on average.",),
        sources=("Code of med-air/EndoFM-LV at fbaf180; 32 rows of time_embed also in lparolari/ntssl at 0da8da3.",),
    ),
    WeightRecord(
        name="m2crl-base-8x224",
        description="M2CRL: the Endo-FM encoder, pre-trained with masks over several views",
        config=model_config("m2crl-base-8x224", EncoderConfig(), license="apache-2.0"),
        family="M2CRL",
        mirrors=(
            Mirror(
                page="https://pan.baidu.com/s/1bu5s1-oi42mG74sF7EI21A?pwd=grvq",
                filename="mmcrl.pth",
                status=f"Baidu's drive, which takes a browser and an account. {NOT_TRIED}.",
            ),
        ),
        license="apache-2.0",
        license_note="The licence of the authors' repository.",
        notes=(
            "Three tensors of the file are left out, which belong to masked pre-training and play no part without a "
            "mask: masked_embed, decoder.0.weight and decoder.0.bias.",
        ),
        sources=("Code of MLMIP/MMCRL at 15ca11c.",),
    ),
    random_record(
        "endofm-lv-tiny-random",
        "EndoFM-LV",
        replace(_TINY, num_frames=32),
        PreprocessConfig.for_image_size(64, num_frames=32, window_seconds=MINUTE_SECONDS),
    ),
    random_record("m2crl-tiny-random", "M2CRL", _TINY),
    # No trained weights are published; the layout of files that users train is read.
    random_record("stomp-tiny-random", "STOMP", replace(_TINY, table_resize="bilinear")),
)

FAMILY_RECORDS = (*SPACE_TIME_RECORDS,)
