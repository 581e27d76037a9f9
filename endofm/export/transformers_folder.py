"""Export of encoders as folders that the package ``transformers`` opens without code of ours, checked as written."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file
from torch import Tensor

from endofm._version import __version__
from endofm.config import PreprocessConfig
from endofm.errors import EndoFMError, InputError, cause, require_extra
from endofm.export.encoder_file import SUFFIXES, TOLERANCE, ExportedNetwork, Parity
from endofm.export.transformers_networks import Translation, translate
from endofm.files import require_writable
from endofm.hub.card_text import as_text
from endofm.hub.licence import require_accepted
from endofm.models.encoder import ClipEncoder
from endofm.outputs import EncoderOutput
from endofm.tasks.features.model import VideoEncoder

_PILLOW_FILTERS = {"bilinear": 2, "bicubic": 3}
"""Numbers of Pillow's filters, as configurations of image processors name them."""


def export_transformers(model: VideoEncoder, folder: str | Path, *, accept_license: str | None = None) -> Parity:
    """Write an encoder as a folder for ``transformers.AutoModel`` and compare what that computes with the encoder.

    Args:
        model: Encoder of the Endo-FM family, of the V-JEPA 2 family, or an image transformer: ours, or timm's with the
            architecture of ViT or DINOv2.
        folder: Folder to create or to write to; other files in it are kept.
        accept_license: Identifier of the weights' licence, to be stated if it does not allow every use.

    Returns:
        Difference between the network of ``transformers`` and the encoder, over embeddings and patch tokens.

    Raises:
        InputError: If ``transformers`` has no such network, or the licence was not accepted.
        MissingExtraError: If ``transformers`` is not installed.
        EndoFMError: If the folder does not compute what the encoder does; nothing is kept then.
    """
    folder = Path(folder)
    check_folder(folder)
    require_accepted(model.config.license, accept_license, action="An export")
    require_writable(folder)
    translation = translate(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".endofm-export-", dir=folder.parent) as name:
        draft = Path(name)
        _write(model, translation, draft)
        parity = _check(model, translation, draft, folder)
        (draft / "README.md").write_text(_card(model, translation, parity), encoding="utf-8")
        folder.mkdir(exist_ok=True)
        # The configuration comes last: a folder without one is no model.
        for file in sorted(draft.iterdir(), key=lambda path: path.name == "config.json"):
            file.replace(folder / file.name)
    return parity


def check_folder(folder: Path) -> None:
    """Raise unless a folder can be written for ``transformers``.

    Raises:
        InputError: If the path is that of a file.
        MissingExtraError: If ``transformers`` is not installed.
    """
    if folder.is_file() or folder.suffix in SUFFIXES.values():
        raise InputError(f"{folder}: the format transformers is a folder; name a folder with -o")
    _package()


def _package() -> Any:
    return require_extra("transformers", "transformers", "Writing and checking a folder for transformers")


def _write(model: VideoEncoder, translation: Translation, folder: Path) -> None:
    """Write tensors, configuration and preprocessing."""
    origin = {"version": __version__, "config": asdict(model.config), "provenance": model.weights_provenance()}
    config = {"architectures": [translation.architecture], **translation.config, "torch_dtype": "float32"}
    save_file(dict(translation.tensors), folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**config, "endofm": origin}, indent=2) + "\n", encoding="utf-8")
    kind = "video" if translation.processor.endswith("VideoProcessor") else "image"
    name = "video_preprocessor_config.json" if kind == "video" else "preprocessor_config.json"
    values = {f"{kind}_processor_type": translation.processor, **_preprocessing(model.processor.config)}
    (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _preprocessing(config: PreprocessConfig) -> dict[str, Any]:
    """Return the preprocessing of a frame in the terms of image processors, as far as these have words for it."""
    square = {"height": config.crop_size, "width": config.crop_size}
    cropped = config.crop in ("center", "published")
    return {
        "do_resize": True,
        "size": {"shortest_edge": config.short_side} if cropped else square,
        "resample": _PILLOW_FILTERS[config.resample],
        "do_center_crop": cropped,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(config.mean),
        "image_std": list(config.std),
    }


def _check(model: VideoEncoder, translation: Translation, draft: Path, folder: Path) -> Parity:
    """Open the written folder as its users will, and compare it with the encoder.

    Raises:
        EndoFMError: If it does not compute the same.
    """
    problem = f"{folder}: transformers {_package().__version__} does not compute what the encoder does"
    try:
        network, report = _package().AutoModel.from_pretrained(draft, output_loading_info=True, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise EndoFMError(f"{problem}: it cannot open the folder ({cause(error)}); nothing was kept") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if names := sorted(map(str, report.get(kind, ()))):
            raise EndoFMError(f"{problem}: {kind.replace('_', ' ')}, such as {names[0]}; nothing was kept")
    # A copy in float32, in evaluation mode and on the CPU.
    exact, worst, batches = ExportedNetwork(cast(ClipEncoder, model), patch_tokens=True).eval(), 0.0, (1, 3)
    frames = 1 if translation.per_frame else model.num_frames
    for batch in batches:
        clip = exact.example(batch, seed=batch)[:, :, :frames]
        with torch.inference_mode():
            expected = EncoderOutput(*exact(clip))
            found = run(network.eval(), translation, clip, expected)
        for name, ours, theirs in zip(EncoderOutput._fields, expected, found, strict=True):
            assert ours is not None
            assert theirs is not None
            difference = float((ours - theirs).abs().max()) if ours.shape == theirs.shape else float("nan")
            # Written this way, a difference that is not a number fails too.
            if not difference <= TOLERANCE:
                raise EndoFMError(
                    f"{problem}: {name} differs by {difference:.1e} (allowed {TOLERANCE:g}); nothing was kept"
                )
            worst = max(worst, difference)
    return Parity(worst, batches)


def run(network: Any, translation: Translation, clip: Tensor, like: EncoderOutput) -> EncoderOutput:
    """Run a network of ``transformers`` on clips, and return its output in our form.

    Args:
        network: The network.
        translation: What it was made from.
        clip: ``(batch, channels, time, height, width)``; a single frame for networks that take frames.
        like: The encoder's output, whose grid of patches is taken.
    """
    assert like.patch_tokens is not None
    time, rows, columns = like.patch_tokens.shape[1:4]
    call = translation.call or {}
    if translation.per_frame:
        output = network(pixel_values=clip[:, :, 0], **call)
        tokens = output.last_hidden_state[:, -rows * columns :].unflatten(1, (time, rows, columns))
        return EncoderOutput(output.pooler_output, tokens)
    video = clip.transpose(1, 2)
    if translation.architecture == "VJEPA2Model":
        tokens = network(pixel_values_videos=video, **call).last_hidden_state
        return EncoderOutput(tokens.mean(1), tokens.unflatten(1, (time, rows, columns)))
    tokens = network(pixel_values=video, **call).last_hidden_state
    # Its tokens are sorted by patch, and by time within a patch.
    return EncoderOutput(tokens[:, 0], tokens[:, 1:].unflatten(1, (rows, columns, time)).permute(0, 3, 1, 2, 4))


def _card(model: VideoEncoder, translation: Translation, parity: Parity) -> str:
    """Return the text of the folder's README: use, what is ours and theirs, licence."""
    config, preprocess = model.config, model.processor.config
    notes = []
    if translation.per_frame:
        notes.append("It takes single frames; the embedding of a clip is the mean of `pooler_output` over its frames.")
    elif translation.architecture == "VJEPA2Model":
        notes.append(
            "Call it with `skip_predictor=True` (the predictor is not part of these weights; its tensors are zeros). "
            "The embedding of a clip is the mean of `last_hidden_state` over its tokens. Clips of another size get "
            "wrong positions in `transformers`: keep to the size of the configuration."
        )
    else:
        notes.append("The embedding of a clip is `last_hidden_state[:, 0]`.")
    notes.append(f"A clip is {preprocess.num_frames} frames spread over {preprocess.window_seconds:g} s.")
    differences = {
        "resizes without antialiasing": not preprocess.antialias,
        "crops the left or top part and not the centre": preprocess.crop == "published",
        "pads instead of squeezing": preprocess.crop == "fit",
        "crops to the endoscope's image first": preprocess.field_of_view,
        "stretches the values of every frame": preprocess.values == "frame",
        "takes BGR": preprocess.channels == "bgr",
    }
    if stated := [text for text, holds in differences.items() if holds]:
        notes.append(
            f"Unlike the processor in this folder, endofm {', '.join(stated)}; features differ a little for it."
        )
    licence = f"license: {json.dumps(config.license)}\n" if config.license else ""
    return (
        f"---\nlibrary_name: transformers\n{licence}---\n\n# {as_text(config.name or 'Endoscopy encoder')}\n\n"
        f"Written by endofm {__version__} for `{translation.architecture}` of `transformers`: "
        "`AutoModel.from_pretrained` opens this folder without remote code. The largest difference from endofm's "
        f"output was {parity.difference:.1e}.\n\n" + "\n\n".join(notes) + "\n"
    )
