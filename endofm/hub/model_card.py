"""Model cards, generated from the record and the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from endofm.config import EncoderConfig, ModelConfig, PreprocessConfig
from endofm.disclaimer import DISCLAIMER
from endofm.hub.card_text import as_code, as_text, one_line
from endofm.hub.task_layout import count_parameters, task_layout
from endofm.hub.weight_record import WeightRecord
from endofm.task_table import get_task

FOLDER_PLACEHOLDER = "path/to/this/folder"
"""Name of the model in the card's example, until it is uploaded and has one."""

_FACT_LIMIT = 2000
"""Largest number of characters of a fact; a model may have many labels."""

_TAGS = ("endoscopy", "video", "medical", "vision-transformer")

# Identifiers that the hub knows: https://huggingface.co/docs/hub/repositories-licenses. "other" stands for the rest.
_HUB_LICENSES = {"apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"}


def model_card(
    config: ModelConfig,
    record: WeightRecord | None = None,
    *,
    sha256: str = "",
    provenance: Mapping[str, str] | None = None,
    sections: Mapping[str, str] | None = None,
) -> str:
    """Return the text of a model card; it begins with the metadata that the hub reads.

    Args:
        config: Configuration of the model.
        record: Record of the weights; without one the card states that training data and scores are unknown.
        sha256: sha256 of ``model.safetensors``.
        provenance: Origin of the weights.
        sections: Sections by heading, from the author of the weights. They replace the generated section of the same
            heading, or else follow the evaluation.
    """
    from huggingface_hub import ModelCardData

    layout = task_layout(config.task)
    # The configuration travels with the weights; a record may exist for their origin alone.
    license_id = one_line(config.license or (record.license if record else ""))
    # Private recordings are described in the text, but are no data sets that the hub could link to.
    datasets = [_slug(name) for name in record.datasets if not name.startswith("private")] if record else []
    metadata = ModelCardData(
        library_name="endofm",
        pipeline_tag=layout.pipeline_tag,
        license=(license_id if license_id in _HUB_LICENSES else "other") if license_id else None,
        license_name=_identifier(license_id) if license_id and license_id not in _HUB_LICENSES else None,
        datasets=datasets or None,
        tags=[
            *_TAGS,
            *(["self-supervised"] if record and config.trained else []),
            *([] if config.trained else ["untrained"]),
        ],
    )
    title = as_text(config.name) or layout.title
    task = get_task(config.task)
    facts = [f"{key}: {as_text(value, limit=_FACT_LIMIT)}" for key, value in layout.facts(config).items()]
    parts = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# {title}",
        *_summary(config, record),
        "## Use\n\n"
        f"```python\nfrom {task.public_module} import {task.model_class}\n\n"
        f'model = {task.model_class}.from_pretrained("{FOLDER_PLACEHOLDER}")\n'
        f"{layout.usage(config)}\n```",
        f"**Intended for** {layout.intended_use}.\n\n"
        f"**Not for diagnosis.** {DISCLAIMER} It is not a medical device and must not guide the care of a patient.",
        *([f"## Output\n\n{_bullets(facts)}"] if facts else []),
    ]
    bodies = {
        "Preprocessing": _preprocessing(config.preprocess),
        "Training data": _training(record, config.trained),
        "Evaluation": _evaluation(record, config.trained),
    }
    ending = {"Licence": _license(license_id, record), "File": _file(config, sha256, provenance or {})}
    # A dictionary keeps the place of a key that is replaced, so given sections stand where the generated ones did.
    for heading, body in (sections or {}).items():
        (ending if heading in ending else bodies)[heading] = body
    parts += [f"## {heading}\n\n{body}" for heading, body in (*bodies.items(), *ending.items())]
    return "\n\n".join(parts) + "\n"


def _summary(config: ModelConfig, record: WeightRecord | None) -> Iterator[str]:
    if not config.trained:
        yield "**These weights are random and untrained; features computed with them mean nothing.**"
    encoder = config.encoder
    scope = " in the encoder" if config.head else ""
    description = f"{record.description}.\n\n" if record else ""
    resized = ""
    if isinstance(encoder, EncoderConfig):
        resized = " (position and time embeddings are resized for other sizes and lengths)"
    yield (
        f"{description}{_capitalised(encoder.describe())}, {count_parameters(encoder):,} parameters{scope}. It takes "
        f"clips of {encoder.num_frames} frames of {encoder.img_size} x {encoder.img_size} pixels{resized} and outputs "
        f"{task_layout(config.task).output(config)}."
    )
    if record and record.paper:
        yield f"Paper: <{record.paper}>"


def _preprocessing(preprocess: PreprocessConfig) -> str:
    size = f"{preprocess.crop_size} x {preprocess.crop_size} pixels"
    filters = "bilinear, half-pixel centres, no antialiasing"
    if preprocess.antialias:
        filters = f"{preprocess.resample} with antialiasing, as Pillow does it on bytes"
    steps = [f"{preprocess.num_frames} RGB frames, evenly spaced over {preprocess.window_seconds:g} s"]
    if preprocess.field_of_view:
        steps.insert(0, "crop to the endoscope's image, without borders and side panels")
    if preprocess.values == "frame":
        steps.append("the values of every frame stretched to [0, 255], truncated to integers")
    if preprocess.crop == "none":
        steps.append(f"the full frame resized to {size}, aspect ratio not kept, {filters}")
    elif preprocess.crop == "fit":
        steps.append(f"longer side resized to {preprocess.crop_size} pixels, {filters}")
    else:
        region = {
            "center": "the central square",
            "published": "the left square of a landscape frame, the top one of a portrait frame (as in the published "
            "evaluation)",
        }[preprocess.crop]
        steps.append(f"shorter side resized to {preprocess.short_side} pixels, {filters}")
        steps.append(f"{region}, {size}")
    # The published code stretches twice, before and after resizing, which does not give the same values as once.
    if preprocess.values == "frame":
        steps.append("the values of every frame stretched to [0, 255] again")
    order = "red, green, blue" if preprocess.channels == "rgb" else "blue, green, red: the order of the network's input"
    steps.append(
        f"values scaled to [0, 1], then minus mean {_numbers(preprocess.mean)}, "
        f"divided by standard deviation {_numbers(preprocess.std)} ({order})"
    )
    if preprocess.crop == "fit":
        steps.append(f"zeros added at the right and bottom, up to multiples of {preprocess.pad_multiple} pixels")
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    return f"`endofm` applies these steps; any other program has to reproduce them exactly.\n\n{numbered}"


def _training(record: WeightRecord | None, trained: bool) -> str:
    if not trained:
        return "None."
    if record is None or not record.datasets:
        return "Not stated. Any public endoscopy video may have been part of it."
    parts = ["Trained on:\n\n" + _bullets(record.datasets)]
    if record.datasets_held_out:
        parts.append("Held out, according to the authors: " + ", ".join(record.datasets_held_out) + ".")
    if record.overlaps:
        parts.append("Overlap with test sets:\n\n" + _bullets(record.overlaps))
    return "\n\n".join(parts)


def _evaluation(record: WeightRecord | None, trained: bool) -> str:
    if not trained:
        return "None: the weights are untrained."
    if record is None or not record.scores:
        return "Not stated."
    rows = [f"| {s.dataset} | {s.task} | {s.metric} | {s.value:g} | {s.source} |" for s in record.scores]
    table = "\n".join(["| data | task | metric | value | source |", "|---|---|---|---|---|", *rows])
    return table + ("\n\n" + _bullets(record.notes) if record.notes else "")


def _license(license_id: str, record: WeightRecord | None) -> str:
    stated = f"{as_text(license_id)}."
    text = stated if license_id else "Not stated; ask the authors before any use beyond your own research."
    return f"{text} {record.license_note}".strip() if record else text


def _file(config: ModelConfig, sha256: str, provenance: Mapping[str, str]) -> str:
    lines = []
    if sha256:
        lines.append(f"sha256 of `model.safetensors`: `{sha256}`")
    if config.source_sha256:
        lines.append(f"sha256 of the published checkpoint that it was converted from: {as_code(config.source_sha256)}")
    if "sha256" in provenance:
        lines.append(f"sha256 of the file that the weights were loaded from: {as_code(provenance['sha256'])}")
    lines.append("The file's header also holds the configuration of `config.json`. Reading it executes no code.")
    return _bullets(lines)


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _bullets(lines: Iterator[str] | tuple[str, ...] | list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


def _identifier(license_id: str) -> str:
    """Return a licence as the hub names one of its own: a single word without markup."""
    return re.sub(r"[^\w.+-]+", "-", license_id).strip("-") or "unnamed"


def _slug(name: str) -> str:
    """Return a data set's name as a tag for the hub: no clip count, only letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.split(" (")[0].lower()).strip("-")
