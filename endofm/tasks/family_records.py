"""Records of encoders that others published: what is known of each, how, and what is not.

No file named here could be downloaded when the records were written: names, shapes and layouts come from the projects'
code, pages and issues, and from other people's inspections. Where a fact is not known, the record does not state it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from endofm.config import BaseEncoderConfig, EncoderConfig, ModelConfig, PreprocessConfig
from endofm.config.family_preprocess import space_time_clip, tubelet_clip, whole_frame
from endofm.config.mamba_config import MambaConfig
from endofm.config.timm_config import TimmConfig
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

_IMAGE = EncoderConfig(attention_type="space_only", table_resize="bicubic", pooling="mean_of_norms")
_IMAGE_SMALL = replace(_IMAGE, embed_dim=384, num_heads=6)
_IMAGE_TINY = replace(_IMAGE, img_size=64, embed_dim=64, depth=2, num_heads=1)
_IMAGE_NOTES = (
    "An image encoder, run on every frame: the clip embedding is the mean of the frames' normed class tokens.",
    "Frames and window are those of Endo-FM, for comparisons; the encoder itself knows no time.",
)
_GASTRONET_PAGE = "https://cortex.thetavision.nl"
_GASTRONET: dict[str, Any] = {
    "license": "cc-by-nc-nd-4.0",
    "license_note": "As others quote an earlier version of the page on the hub; unverified here.",
    "sources": ("A public entry of the RARE26 challenge, whose provenance file states checksum and size.",),
}
_SURGENET_LICENSE: dict[str, Any] = {
    "license": "cc-by-nc-sa-4.0",
    "license_note": "LICENSE_MODELS.txt of TimJaspers0801/SurgeNet; its code is under the MIT licence.",
}


def image_record(
    name: str,
    description: str,
    family: str,
    encoder: BaseEncoderConfig,
    *,
    license: str,
    preprocess: PreprocessConfig | None = None,
    notes: tuple[str, ...] = (),
    **facts: Any,
) -> WeightRecord:
    """Return the record of an image encoder; by default it sees the whole frame with the statistics of ImageNet."""
    config = model_config(name, encoder, license=license, preprocess=preprocess or whole_frame(encoder))
    return WeightRecord(
        name=name,
        description=description,
        config=config,
        family=family,
        license=license,
        notes=(*_IMAGE_NOTES, *notes),
        status="" if "mirrors" in facts else f"{NOT_TRIED}.",
        **facts,
    )


IMAGE_RECORDS = (
    image_record(
        "endovit-b",
        "EndoViT: ViT-B/16, masked autoencoder on images of minimally invasive surgery",
        "EndoViT",
        _IMAGE,
        preprocess=whole_frame(_IMAGE, mean=(0.3464, 0.2280, 0.2228), std=(0.2520, 0.2128, 0.2093)),
        hub_id="egeozsoy/EndoViT",
        filename="pytorch_model.bin",
        license="unknown",
        license_note="There is no licence file in the repository.",
        notes=("A decoder of the masked autoencoder in the file, if there is one, is left out.",),
        sources=("README of the repository at 9d30d4e: layout, mean and deviation, squeezed frames.",),
    ),
    image_record(
        "gastronet-5m-vits",
        "GastroNet-5M: ViT-S/16, DINO on gastrointestinal endoscopy",
        "GastroNet-5M",
        _IMAGE_SMALL,
        mirrors=(
            Mirror(
                page=_GASTRONET_PAGE,
                filename="VITS_GastroNet-5M_DINOv1.pth",
                sha256="383c7a9a026cc7a8ecf0a201713714f91f51384fcacb0a7226df77212aa7da77",
                status=f"The repository on the hub held only a README in September 2026, others report. {NOT_TRIED}.",
            ),
        ),
        **_GASTRONET,
    ),
    image_record(
        "pl-stitch-b",
        "PL-Stitch: ViT-B/16, iBOT with the order of surgical frames",
        "PL-Stitch",
        _IMAGE,
        hub_id="visurg/PL-Stitch",
        filename="pl_lemon.pth",
        license="mit",
        license_note="The licence of the code, which does not mention the weights separately.",
        notes=("A mask token of the pre-training in the file, if there is one, is left out.",),
        sources=("Code of visurg's PL-Stitch at f4a3b19.",),
    ),
    *(
        image_record(
            f"surgenetxl-dinov1-{size}",
            f"SurgeNetXL: ViT-{size.upper()}/16, DINO on surgical video",
            "SurgeNetXL",
            encoder,
            mirrors=(
                Mirror(
                    page="https://huggingface.co/rlpddejong/SurgeNetXL_DINOv1-v3",
                    status=f"A repository on the hub; the names of its files are not known. {NOT_TRIED}.",
                ),
            ),
            sources=("Code of TimJaspers0801/SurgeNet at 54831cf.",),
            **_SURGENET_LICENSE,
        )
        for size, encoder in (("s", _IMAGE_SMALL), ("b", _IMAGE))
    ),
    *(
        random_record(f"{name}-tiny-random", family, _IMAGE_TINY, whole_frame(_IMAGE_TINY))
        for name, family in (
            ("endovit", "EndoViT"),
            ("gastronet-5m", "GastroNet-5M"),
            ("pl-stitch", "PL-Stitch"),
            ("surgenetxl-dinov1", "SurgeNetXL"),
        )
    ),
)

_CAFORMER = TimmConfig(model="caformer_s18", plain_relu=True, embed_dim=512, patch_size=32)
_DINO_V2_V3 = "https://huggingface.co/rlpddejong/SurgeNetXL_DINOv1-v3"
_SIZES = {"s": ("small", 384), "b": ("base", 768), "l": ("large", 1024)}


def _surgenet_dino(version: int, size: str) -> WeightRecord:
    name, width = _SIZES[size]
    patch = 14 if version == 2 else 16
    encoder = TimmConfig(
        model=f"vit_{name}_patch{patch}_dinov{version}", img_size=336, patch_size=patch, embed_dim=width
    )
    return image_record(
        f"surgenetxl-dinov{version}-{size}",
        f"SurgeNetXL: ViT-{size.upper()}/{patch}, DINOv{version} on surgical video",
        "SurgeNetXL",
        encoder,
        mirrors=(
            Mirror(
                page=_DINO_V2_V3, status=f"A repository on the hub; the names of its files are not known. {NOT_TRIED}."
            ),
        ),
        # Counted by others in the file of DINOv2-B: 175 tensors, one of them the mask token.
        left_out=("mask_token",),
        notes=("The names of its tensors are not verified; a file with other names is refused.",),
        sources=("Code of TimJaspers0801/SurgeNet at 54831cf; counts of DINOv2-B by others.",),
        license=_SURGENET_LICENSE["license"],
        license_note=_SURGENET_LICENSE["license_note"] + (" DINOv3's own applies too." if version == 3 else ""),
    )


TIMM_RECORDS = (
    image_record(
        "surgenetxl-caformer",
        "SurgeNetXL: CAFormer-S18 with plain ReLU, DINO on surgical video",
        "SurgeNetXL",
        _CAFORMER,
        hub_id="TimJaspersTue/SurgeNetModels",
        filename="SurgeNetXL_checkpoint_epoch0050_teacher.pth",
        notes=(
            "timm's caformer_s18 takes the file without strictness, but computes something else: its activations have "
            "a learnt scale and bias.",
            "Patch tokens are the cells of the last feature map, of stride 32. The preprocessing is not stated.",
        ),
        sources=("Code of TimJaspers0801/SurgeNet at 54831cf, which was run.",),
        **_SURGENET_LICENSE,
    ),
    *(_surgenet_dino(version, size) for version in (2, 3) for size in _SIZES),
    random_record(
        "surgenetxl-caformer-random",
        "SurgeNetXL",
        replace(_CAFORMER, img_size=64),
        whole_frame(replace(_CAFORMER, img_size=64)),
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

FAMILY_RECORDS = (*SPACE_TIME_RECORDS, *VJEPA_RECORDS, *IMAGE_RECORDS, *TIMM_RECORDS, *MAMBA_RECORDS)
