"""The model card that lies beside the weights, written from the record and the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from endofm.config import PAD_MULTIPLE, ModelConfig, PreprocessConfig
from endofm.hub.layout import hub_task
from endofm.hub.registry import WeightRecord
from endofm.hub.state_dict import count_parameters
from endofm.task_table import get_task

FOLDER_PLACEHOLDER = "path/to/this/folder"
"""Stands in the example of loading until the model is uploaded and has a name."""

_TAGS = ("endoscopy", "video", "medical", "vision-transformer")

# Identifiers that the hub knows: https://huggingface.co/docs/hub/repositories-licenses. "other" stands for the rest.
_HUB_LICENSES = {"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"}


def model_card(
    config: ModelConfig,
    record: WeightRecord | None = None,
    *,
    sha256: str = "",
    provenance: Mapping[str, str] | None = None,
    told: Mapping[str, str] | None = None,
) -> str:
    """Return the text of a model card, with the metadata that the hub reads at its head.

    Args:
        config: Configuration of the model.
        record: What is known about the weights; without it the card says that training data and scores are unknown.
        sha256: sha256 of ``model.safetensors``.
        provenance: Where the weights came from.
        told: Sections by their headings, from whoever trained the weights. They take the place of the generated
            section of that heading, or else follow the evaluation.
    """
    from huggingface_hub import ModelCardData

    task = hub_task(config.task)
    license_id = config.license or (record.license if record else "")
    datasets = [_slug(name) for name in record.datasets if not name.startswith("private")] if record else []
    metadata = ModelCardData(
        library_name="endofm",
        pipeline_tag=task.pipeline_tag,
        license=(license_id if license_id in _HUB_LICENSES else "other") if license_id else None,
        license_name=license_id if license_id and license_id not in _HUB_LICENSES else None,
        datasets=datasets or None,
        tags=[
            *_TAGS,
            *(["self-supervised"] if record and config.trained else []),
            *([] if config.trained else ["untrained"]),
        ],
    )
    title = config.name or task.title
    model_class = get_task(config.task).model_class
    facts = task.facts(config)
    sections = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {title}",
        *_summary(config, record),
        "## Use\n\n"
        f"```python\nfrom endofm import {model_class}\n\n"
        f'model = {model_class}.from_pretrained("{FOLDER_PLACEHOLDER}")\n'
        f"{task.usage(config)}\n```",
        f"**Intended for** {task.intended_use}.\n\n"
        "**Not for diagnosis.** This is not a medical device. Nothing computed with it is medical advice, and it must "
        "not guide the care of a patient.",
        *([f"## Output\n\n{_bullets([f'{key}: {value}' for key, value in facts.items()])}"] if facts else []),
    ]
    first = {
        "Preprocessing": _preprocessing(config.preprocess),
        "Training data": _training(record, config.trained),
        "Evaluation": _evaluation(record, config.trained),
    }
    last = {"Licence": _license(license_id, record), "File": _file(config, sha256, provenance or {})}
    bodies = {**first, **{heading: "" for heading in told or {} if heading not in last}, **last, **(told or {})}
    sections += [f"## {heading}\n\n{body}" for heading, body in bodies.items()]
    return "\n\n".join(sections) + "\n"


def _summary(config: ModelConfig, record: WeightRecord | None) -> Iterator[str]:
    if not config.trained:
        yield "**These weights are random. Nothing was learned, and features computed with them mean nothing.**"
    encoder = config.encoder
    beside = " in the encoder" if config.head else ""
    description = f"{record.description}.\n\n" if record else ""
    yield (
        f"{description}A video transformer with divided space-time attention: {encoder.depth} blocks, width "
        f"{encoder.embed_dim}, {encoder.num_heads} heads, patches of {encoder.patch_size} x {encoder.patch_size} "
        f"pixels, {count_parameters(encoder):,} parameters{beside}. It takes clips of {encoder.num_frames} frames of "
        f"{encoder.img_size} x {encoder.img_size} pixels (other sizes and lengths work by resizing its tables) and "
        f"gives {hub_task(config.task).output(config)}."
    )
    if record and record.paper:
        yield f"Paper: <{record.paper}>"


def _preprocessing(preprocess: PreprocessConfig) -> str:
    size = f"{preprocess.crop_size} x {preprocess.crop_size} pixels"
    filters = "bilinear, half-pixel centres, no antialiasing"
    if preprocess.antialias:
        filters = "bilinear with antialiasing, as Pillow does it on bytes"
    steps = [f"{preprocess.num_frames} RGB frames, evenly spaced over {preprocess.window_seconds:g} s"]
    if preprocess.field_of_view:
        steps.insert(0, "the endoscope's image, without borders and side panels")
    if preprocess.values == "frame":
        steps.append("the values of every frame stretched to [0, 255], cut to whole numbers")
    if preprocess.crop == "none":
        steps.append(f"the whole frame resized to {size}, aspect ratio not kept, {filters}")
    elif preprocess.crop == "fit":
        steps.append(f"longer side resized to {preprocess.crop_size} pixels, {filters}")
    else:
        place = {
            "center": "the central square",
            "upstream": "the left square of a landscape frame, the top one of a portrait frame (as the original's "
            "evaluation does)",
        }[preprocess.crop]
        steps.append(f"shorter side resized to {preprocess.short_side} pixels, {filters}")
        steps.append(f"{place}, {size}")
    if preprocess.values == "frame":
        steps.append("the values of every frame stretched to [0, 255] again")
    order = "red, green, blue" if preprocess.channels == "rgb" else "blue, green, red: the order that the network takes"
    steps.append(
        f"values scaled to [0, 1], then minus mean {_numbers(preprocess.mean)}, "
        f"divided by standard deviation {_numbers(preprocess.std)} ({order})"
    )
    if preprocess.crop == "fit":
        steps.append(f"zeros added at the right and bottom, up to multiples of {PAD_MULTIPLE} pixels")
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    return f"`endofm` does this by itself; elsewhere it has to be done exactly so.\n\n{numbered}"


def _training(record: WeightRecord | None, trained: bool) -> str:
    if not trained:
        return "None."
    if record is None or not record.datasets:
        return "Not stated. Assume that any public endoscopy video may have been part of it."
    parts = ["Trained on:\n\n" + _bullets(record.datasets)]
    if record.datasets_held_out:
        parts.append("Held out, by the authors' word: " + ", ".join(record.datasets_held_out) + ".")
    if record.overlaps:
        parts.append("Overlap with test sets:\n\n" + _bullets(record.overlaps))
    return "\n\n".join(parts)


def _evaluation(record: WeightRecord | None, trained: bool) -> str:
    if not trained:
        return "None; there is nothing to evaluate."
    if record is None or not record.scores:
        return "Not stated."
    rows = [f"| {s.dataset} | {s.task} | {s.metric} | {s.value:g} | {s.source} |" for s in record.scores]
    table = "\n".join(["| data | task | metric | value | source |", "|---|---|---|---|---|", *rows])
    return table + ("\n\n" + _bullets(record.notes) if record.notes else "")


def _license(license_id: str, record: WeightRecord | None) -> str:
    text = f"{license_id}." if license_id else "Not stated; ask the authors before any use beyond your own research."
    return f"{text} {record.license_note}".strip() if record else text


def _file(config: ModelConfig, sha256: str, provenance: Mapping[str, str]) -> str:
    lines = []
    if sha256:
        lines.append(f"sha256 of `model.safetensors`: `{sha256}`")
    if config.source_sha256:
        lines.append(f"sha256 of the original checkpoint that it was converted from: `{config.source_sha256}`")
    if "sha256" in provenance:
        lines.append(f"sha256 of the file that the weights were loaded from: `{provenance['sha256']}`")
    lines.append("The file's header holds the configuration of `config.json` as well. No code is needed to read it.")
    return _bullets(lines)


def _bullets(lines: Iterator[str] | tuple[str, ...] | list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _slug(name: str) -> str:
    """Return a data set's name in the form of the hub's metadata: no clip count, only letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.split(" (")[0].lower()).strip("-")
