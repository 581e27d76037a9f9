"""Records of video encoders that others published: what is known of each, how, and what is not.

Those of image encoders are in :mod:`endofm.tasks.image_records`.

No file named here could be downloaded when the records were written: names, shapes and layouts come from the projects'
code, pages and issues, and from other people's inspections. Where a fact is not known, the record does not state it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from endofm.config import BaseEncoderConfig, EncoderConfig, ModelConfig, PreprocessConfig
from endofm.config.family_preprocess import space_time_clip, tubelet_clip
from endofm.config.mamba_config import MambaConfig
from endofm.config.vjepa_config import VJepaConfig
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
            preprocess=space_time_clip(_LV),
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
        space_time_clip(replace(_TINY, num_frames=32)),
    ),
    random_record("m2crl-tiny-random", "M2CRL", _TINY),
    # No trained weights are published; the layout of files that users train is read.
    random_record("stomp-tiny-random", "STOMP", replace(_TINY, table_resize="bilinear")),
)

_TINY_VJEPA = VJepaConfig(img_size=64, num_frames=8, embed_dim=64, depth=2, num_heads=1)
_VJEPA_NOTES = (
    "There is no class token: the clip embedding is the mean of all tokens.",
    "The window is one frame a second, as in the authors' lists of surgical phases; their PolypDiag takes 64 frames at "
    "30 per second, which is a window of 2.1 s. Other projects run 16 frames.",
)


def _vjepa(name: str, description: str, family: str, encoder: VJepaConfig, **facts: Any) -> WeightRecord:
    return WeightRecord(
        name=name,
        description=description,
        config=model_config(name, encoder, license=facts["license"], preprocess=tubelet_clip(encoder)),
        family=family,
        status=f"{NOT_TRIED}.",
        **facts,
    )


_GIANT = VJepaConfig(embed_dim=1408, depth=40, num_heads=22, mlp_ratio=48 / 11)

VJEPA_RECORDS = (
    _vjepa(
        "surgmotion-l",
        "SurgMotion-L: V-JEPA 2 continued on surgical video",
        "SurgMotion",
        VJepaConfig(),
        hub_id="CAIR-HKISI/SurgMotion",
        filename="SurgMotion-vitl.pt",
        license="apache-2.0",
        license_note="The licence of the code and of the repository on the hub.",
        notes=_VJEPA_NOTES,
        sources=(
            "Code of CAIR-HKISI/SurgMotion at 9f1de59. Two public repositories report that the file fits with nothing "
            "missing or left over.",
        ),
    ),
    _vjepa(
        "surgmotion-g",
        "SurgMotion-G: V-JEPA 2 continued on surgical video, giant",
        "SurgMotion",
        _GIANT,
        hub_id="CAIR-HKISI/SurgMotion",
        filename="SurgMotion-vitg-xformer.pt",
        license="apache-2.0",
        license_note="The licence of the code and of the repository on the hub.",
        notes=_VJEPA_NOTES,
        sources=("Code of CAIR-HKISI/SurgMotion at 9f1de59.",),
    ),
    _vjepa(
        "surgrec-jepa-l",
        "SurgRec-JEPA: V-JEPA trained on surgical recordings, ViT-L",
        "SurgRec",
        VJepaConfig(),
        hub_id="SichengLu/SurgRec",
        filename="surgrec_jepa.pt",
        license="cc-by-nc-4.0",
        license_note="As stated on the hub.",
        notes=("The window is not known; a frame a second is an assumption.", _VJEPA_NOTES[0]),
        sources=("Page of the repository on the hub, as others quote it; 4.8 GB.",),
    ),
    _vjepa(
        "vjepa2-l",
        "V-JEPA 2 of Meta, ViT-L, general video",
        "V-JEPA 2",
        VJepaConfig(),
        hub_id="facebook/vjepa2-vitl-fpc64-256",
        license="mit",
        license_note="As stated on the hub; unverified here.",
        notes=("The window is not known; a frame a second is an assumption.", _VJEPA_NOTES[0]),
        sources=("The package transformers (5.24), whose names of the tensors are read.",),
    ),
    random_record(
        "vjepa2-tiny-random",
        "V-JEPA 2",
        _TINY_VJEPA,
        tubelet_clip(_TINY_VJEPA),
    ),
)

_TINY_MAMBA = MambaConfig(img_size=64, num_frames=4, embed_dim=64, depth=2, spatial_depth=1)


def _mamba_record(name: str, family: str, mirror: Mirror, source: str) -> WeightRecord:
    return WeightRecord(
        name=name,
        description=f"{family}: scans within frames and over time, causal in time",
        config=model_config(name, MambaConfig(), license="apache-2.0"),
        family=family,
        mirrors=(mirror,),
        license="apache-2.0",
        license_note="The licence of the authors' repository.",
        notes=(
            "The clip embedding is the mean of the frames' class tokens.",
            "Other sizes than 224 resize the position table bicubically, which the original does not offer.",
        ),
        sources=(source,),
    )


MAMBA_RECORDS = (
    _mamba_record(
        "endomamba-s",
        "EndoMamba",
        Mirror(page="https://pan.cstcloud.cn/s/Wdh1rxF2QRk", status=f"A drive of the authors' institute. {NOT_TRIED}."),
        "Code of TianCuteQY/EndoMamba at debd20a.",
    ),
    _mamba_record(
        "fprl-s",
        "FPRL",
        Mirror(
            page="https://pan.baidu.com/s/1rW4A8d7gig8dNCeIc3SafQ?pwd=k7dv",
            status=f"Baidu's drive, which takes a browser and an account. {NOT_TRIED}.",
        ),
        "Code of MLMIP/FPRL at 5ef5855, whose network is EndoMamba's.",
    ),
    random_record("endomamba-tiny-random", "EndoMamba", _TINY_MAMBA),
)

VIDEO_RECORDS = (*SPACE_TIME_RECORDS, *VJEPA_RECORDS, *MAMBA_RECORDS)
