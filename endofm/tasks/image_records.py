"""Records of image encoders that others published; they are run on every frame.

As in :mod:`endofm.tasks.family_records`, nothing could be downloaded when they were written.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from endofm.config import BaseEncoderConfig, EncoderConfig, PreprocessConfig
from endofm.config.family_preprocess import whole_frame
from endofm.config.timm_config import TimmConfig
from endofm.hub.weight_record import Mirror, WeightRecord
from endofm.tasks.family_records import NOT_TRIED, model_config, random_record

_IMAGE = EncoderConfig(attention_type="space_only", table_resize="bicubic", pooling="mean_of_norms")
_IMAGE_SMALL = replace(_IMAGE, embed_dim=384, num_heads=6)
_IMAGE_TINY = replace(_IMAGE, img_size=64, embed_dim=64, depth=2, num_heads=1)
_IMAGE_NOTES = (
    "An image encoder, run on every frame: the clip embedding is the mean of the frames' normed class tokens.",
    "Frames and window are those of Endo-FM, for comparisons; the encoder itself knows no time.",
)
_NAMES_UNVERIFIED = "The names of its tensors are not verified; a file with other names is refused."
_SSL4GIE: dict[str, Any] = {
    "datasets": ("Hyper-Kvasir (which part is not known)",),
    "mirrors": (
        Mirror(
            page="https://github.com/ESandML/SSL4GIE",
            status=f"The repository links a drive; the names of its files are not known. {NOT_TRIED}.",
        ),
    ),
    "license": "cc-by-nc-4.0",
    "license_note": "As others quote the project's page; unverified here.",
    "notes": ("The preprocessing is not verified; mean and deviation of ImageNet are an assumption.",),
    "sources": (
        "Code of ESandML/SSL4GIE at 1c0ff62: networks, an entry model for the masked autoencoder, else flat files.",
    ),
}
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


_TRANSFORMER_RECORDS = (
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
            f"ssl4gie-{method}-b",
            f"SSL4GIE: ViT-B/16, {title} on gastrointestinal endoscopy (Hyper-Kvasir)",
            "SSL4GIE",
            _IMAGE,
            **_SSL4GIE,
        )
        for method, title in (("mae", "masked autoencoder"), ("mocov3", "MoCo v3"))
    ),
    image_record(
        "endossl-l",
        "EndoSSL: ViT-L/16, masked siamese network on endoscopy",
        "EndoSSL",
        replace(_IMAGE, embed_dim=1024, depth=24, num_heads=16),
        mirrors=(
            Mirror(
                page="https://github.com/RoyHirsch/endossl",
                status=f"A converted teacher is on the drive of the project SurgVISTA, others report. {NOT_TRIED}.",
            ),
        ),
        license="unknown",
        license_note="Not verified.",
        notes=("Mean and deviation are not known; those of ImageNet are an assumption.", _NAMES_UNVERIFIED),
        sources=("Other people's lists of encoders; the project's code was not read.",),
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
            ("ssl4gie", "SSL4GIE"),
            ("endossl", "EndoSSL"),
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
        notes=(_NAMES_UNVERIFIED,),
        sources=("Code of TimJaspers0801/SurgeNet at 54831cf; counts of DINOv2-B by others.",),
        license=_SURGENET_LICENSE["license"],
        license_note=_SURGENET_LICENSE["license_note"] + (" DINOv3's own applies too." if version == 3 else ""),
    )


def _gastronet(name: str, description: str, encoder: TimmConfig, mirror: Mirror, **facts: Any) -> WeightRecord:
    return image_record(name, description, "GastroNet-5M", encoder, mirrors=(mirror,), **facts, **_GASTRONET)


_REGISTERS = TimmConfig(model="vit_base_patch14_reg4_dinov2", patch_size=14, embed_dim=768)
_RESNET = TimmConfig(model="resnet50", patch_size=32, embed_dim=2048)
_CONVNEXT = TimmConfig(model="convnext_large", patch_size=32, embed_dim=1536)

_TINY_NETWORKS: tuple[tuple[str, str, TimmConfig], ...] = (
    ("surgenetxl-caformer-random", "SurgeNetXL", replace(_CAFORMER, img_size=64)),
    (
        "surgenetxl-dinov2-random",
        "SurgeNetXL",
        TimmConfig(model="vit_small_patch14_dinov2", img_size=56, patch_size=14, embed_dim=384),
    ),
    (
        "surgenetxl-dinov3-random",
        "SurgeNetXL",
        TimmConfig(model="vit_small_patch16_dinov3", img_size=64, embed_dim=384),
    ),
    (
        "gastronet-5m-dinov2-random",
        "GastroNet-5M",
        TimmConfig(model="vit_small_patch14_reg4_dinov2", img_size=56, patch_size=14, embed_dim=384),
    ),
    ("gastronet-5m-rn50-random", "GastroNet-5M", replace(_RESNET, img_size=64)),
    (
        "lemonfm-tiny-random",
        "LemonFM",
        TimmConfig(model="test_convnext", img_size=64, patch_size=32, embed_dim=64),
    ),
)

_TIMM_RECORDS = (
    _gastronet(
        "gastronet-5m-rn50",
        "GastroNet-5M: ResNet-50, DINO on gastrointestinal endoscopy",
        _RESNET,
        Mirror(
            page=_GASTRONET_PAGE,
            filename="RN50_Billion-Scale-SWSL+GastroNet-5M_DINOv1.pth",
            sha256="5688929fea4437031604001495fb77fb18cdc2ff92ae24120f93aeceaf5aa16d",
            status=f"94.4 MB, others report. {NOT_TRIED}.",
        ),
        notes=("Patch tokens are the cells of the last feature map, of stride 32.", _NAMES_UNVERIFIED),
    ),
    _gastronet(
        "gastronet-5m-dinov2-b",
        "GastroNet-5M: ViT-B/14 with 4 registers, DINOv2 on gastrointestinal endoscopy",
        _REGISTERS,
        Mirror(
            page=_GASTRONET_PAGE,
            filename="dinov2.pth",
            sha256="20ab749ec4bfdd53a79fc82784d04d9480d87d9f122b877d0f20c6f40aabdc44",
            status=f"436.5 MB, others report. {NOT_TRIED}.",
        ),
        left_out=("mask_token",),
        notes=(
            "The side of its frames is not known; 224 is an assumption. Others counted 173 tensors in the file, this "
            "network has 175: names and form are not verified, and a file that does not fit is refused.",
        ),
    ),
    *(
        image_record(
            f"ssl4gie-{method}-rn50",
            f"SSL4GIE: ResNet-50, {title} on gastrointestinal endoscopy (Hyper-Kvasir)",
            "SSL4GIE",
            _RESNET,
            **_SSL4GIE,
        )
        for method, title in (("mocov3", "MoCo v3"), ("barlowtwins", "Barlow Twins"))
    ),
    image_record(
        "lemonfm-l",
        "LemonFM: ConvNeXt-L on surgical video",
        "LemonFM",
        _CONVNEXT,
        hub_id="visurg/LemonFM",
        filename="lemonfm.pth",
        license="unknown",
        license_note="The licence of the weights is not verified.",
        notes=(
            "The network and names of torchvision: the embedding is the normed mean of the last feature map, whose "
            "cells, of stride 32, are the patch tokens.",
        ),
        sources=("Code of visurg-ai/LEMON at 6449e6c: the entry teacher, the prefix backbone, and convnext_large.",),
    ),
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
    *(random_record(name, family, encoder, whole_frame(encoder)) for name, family, encoder in _TINY_NETWORKS),
)

IMAGE_RECORDS = (*_TRANSFORMER_RECORDS, *_TIMM_RECORDS)
