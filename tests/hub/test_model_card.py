from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from endofm.hub.model_card import model_card
from endofm.hub.registry import get_record, list_models
from endofm.tasks.classification.config import ClassificationHeadConfig
from helpers.small_encoder import CONFIG


def card_of(name: str) -> tuple[str, ModelCard]:
    record = get_record(name)
    text = model_card(record.config, record, sha256="ab" * 32)
    return text, ModelCard(text)


@pytest.mark.parametrize("name", list_models())
def test_every_record_gives_a_card_with_valid_metadata(name: str) -> None:
    text, card = card_of(name)
    metadata = card.data.to_dict()
    assert metadata["library_name"] == "endofm"
    tags = {
        "classification": "video-classification",
        "detection": "object-detection",
        "features": "feature-extraction",
        "segmentation": "image-segmentation",
    }
    assert metadata["pipeline_tag"] == tags[get_record(name).config.task]
    # A licence that the hub has no identifier for is named, and one that is not stated is left out.
    stated = get_record(name).license
    assert metadata.get("license") in ((stated, "other") if stated else (None,))
    assert "endoscopy" in metadata["tags"]
    # What the hub accepts as the name of a data set.
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*", dataset) for dataset in metadata.get("datasets", []))
    assert "Not for diagnosis" in text
    assert "ab" * 32 in text
    assert 'from_pretrained("path/to/this/folder")' in text


def test_the_published_backbone_states_data_overlap_scores_and_preprocessing() -> None:
    text, card = card_of("endofm-base-8x224")
    assert "hyper-kvasir" in card.data.to_dict()["datasets"]
    assert "private" not in " ".join(card.data.to_dict()["datasets"])
    for fact in (
        "Held out, according to the authors: CVC-12k, KUMC.",
        "were not taken out of pre-training",
        "| PolypDiag | classification | F1 (%) | 90.7 | paper, after fine-tuning |",
        "They were not measured again",
        "8 RGB frames, evenly spaced over 5 s",
        "resized to 256 pixels, bilinear",
        "central square, 224 x 224 pixels",
        "mean (0.485, 0.456, 0.406)",
        "121,258,752 parameters",
        "does not mention the weights separately",
        "https://arxiv.org/abs/2306.16741",
    ):
        assert fact in text


def test_random_weights_say_so_first() -> None:
    text, card = card_of("endofm-tiny-8x224-random")
    assert "untrained" in card.data.to_dict()["tags"]
    assert text.index("features computed with them mean nothing") < text.index("## Use")
    assert "self-supervised" not in card.data.to_dict()["tags"]


def test_a_card_without_a_record_claims_nothing() -> None:
    text = model_card(CONFIG, provenance={"sha256": "cd" * 32})
    assert "license" not in ModelCard(text).data.to_dict()
    assert text.count("Not stated") == 3
    assert "cd" * 32 in text


def test_a_licence_that_the_hub_does_not_list_is_named() -> None:
    metadata = ModelCard(model_card(replace(CONFIG, license="ours-1.0"))).data.to_dict()
    assert (metadata["license"], metadata["license_name"]) == ("other", "ours-1.0")


def test_the_card_beside_the_weights_states_their_checksum(model_folder: Path) -> None:
    digest = hashlib.sha256((model_folder / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (model_folder / "README.md").read_text()


HOSTILE = (
    "x\n## Evaluation\n\nAUROC 0.99",
    "a\n---\nlicense: mit\n---\n# Fine",
    "<script>alert(1)</script>",
    "---",
    "{a: [b",
    "\x1b]0;title\x07",
    "# x",
    "y" * 10_000,
)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["name", "license", "label", "source_sha256"])
def test_text_of_others_is_data_in_a_card(text: str, field: str) -> None:
    """Headings and metadata are those of a harmless card, and no markup of the text is left."""

    def card(value: str) -> str:
        if field == "label":
            return model_card(replace(CONFIG, head=ClassificationHeadConfig(labels=(value, "polyp"))))
        return model_card(replace(CONFIG, **{field: value}))  # type: ignore[arg-type]

    def headings(made: str) -> list[str]:
        return [line for line in made.splitlines() if line.startswith("#") and not line.startswith("# ")]

    harmless, hostile = card("fine"), card(text)
    assert headings(hostile) == headings(harmless)
    assert len(hostile.splitlines()) == len(harmless.splitlines())
    assert "<script" not in hostile
    assert "\x1b" not in hostile
    assert len(hostile) < len(harmless) + 2500
    expected, found = ModelCard(harmless).data.to_dict(), ModelCard(hostile).data.to_dict()
    assert {**found, "license_name": ""} == {**expected, "license_name": ""}
    if field == "license":
        assert re.fullmatch(r"[\w.+-]+", found["license_name"])
