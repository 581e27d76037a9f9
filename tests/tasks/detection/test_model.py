"""The detector as users load it, and the published network at full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from endofm import DetectionHeadConfig, EndoFM, EndoFMForDetection
from endofm.errors import EncoderOutputError
from endofm.tasks.detection.cells import PyramidLevel
from endofm.tasks.detection.decoding import decode
from endofm.tasks.detection.detection_losses import detection_losses
from endofm.tasks.detection.detector import join_levels
from endofm.tasks.detection.layout import DetectionTaskLayout, from_published
from endofm.tasks.detection.refinement import RefinedLevel
from helpers import detection_fill as fill
from helpers.detection_maps import check_level
from helpers.published_names import to_published_detector
from helpers.tiny_detector import footage, tiny_detector


def test_frames_one_by_one_equal_the_original(published_detector: EndoFMForDetection, goldens: fill.Goldens) -> None:
    head, frames = published_detector.head, fill.frames(3)
    seen, pyramids = [], []
    with torch.inference_mode():
        check_tokens(published_detector, frames[:1, :, None], goldens, "test")
        for i, frame in enumerate(frames):
            scales = head.pyramid.scales(published_detector.tokens(frame[None, :, None]))
            pyramids.append(head.pyramid.join(scales))
            for level, scale in enumerate(scales):
                goldens.check(f"test/frame{i}/vit_level{level}", scale)
            for name, features in zip(fill.LEVELS, pyramids[-1], strict=True):
                goldens.check(f"test/frame{i}/fpn/{name}", features)
            seen.append(head.first(pyramids[-1]))
        levels = join_levels(seen)
        for i in range(len(levels)):
            check_level(head, goldens, "test", i, torch.cat([p[i] for p in pyramids]), levels[i])
        targets, refined = refine_first(published_detector, levels, goldens, "test")
        found = decode(targets, refined, 0, limits=(319, 223))
        # By the public way, with the configuration that came with the file.
        first, *others = [[level.select(i) for level in levels] for i in range(3)]
        public = published_detector.find_boxes(first, others, (224, 320))
        assert torch.equal(public.boxes, found.boxes)
        assert torch.equal(public.labels, found.labels)
        # Frames in one batch of clips of one frame are the same as frames one by one.
        batch = published_detector.first_stage(frames[:, :, None])
    for together, alone in zip(batch, levels, strict=True):
        torch.testing.assert_close(together.logits, alone.logits, rtol=1e-4, atol=1e-4)
    # Published labels count from 1.
    check_detections(found.boxes, found.scores, found.labels + 1, goldens)


def check_detections(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, goldens: fill.Goldens) -> None:
    """Match the stored detections to the found ones: scores lie so close together that their order may differ."""
    wanted = goldens["test/detections/boxes"]
    distance = np.abs(wanted[:, None] - boxes.numpy()[None]).max(-1)
    distance[goldens["test/detections/labels"][:, None] != labels.numpy()[None]] = np.inf
    nearest = distance.argmin(1)
    score_distance = np.abs(goldens["test/detections/scores"] - scores.numpy()[nearest])
    matched = (distance.min(1) < 1e-2) & (score_distance < 1e-5)
    assert (~matched).sum() <= 2
    assert abs(len(boxes) - len(wanted)) <= 2
    assert (scores.diff() <= 0).all()


def test_clip_and_losses_and_gradients_equal_the_original(
    published_detector: EndoFMForDetection, goldens: fill.Goldens
) -> None:
    names = goldens.texts("train/grad_names")
    renamed = {old: next(iter(from_published({old: 0})[0])) for old in names}
    parameters = dict(published_detector.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    for name in renamed.values():
        parameters[name].requires_grad_(True)
    clip = fill.frames(3).transpose(0, 1)[None]
    with torch.no_grad():
        check_tokens(published_detector, clip, goldens, "train")
    scales = published_detector.head.pyramid.scales(published_detector.tokens(clip))
    for level, scale in enumerate(scales):
        goldens.check(f"train/vit_level{level}", scale)
    pyramid = published_detector.head.pyramid.join(scales)
    levels = published_detector.head.first(pyramid)
    with torch.no_grad():
        for i, features in enumerate(pyramid):
            check_level(published_detector.head, goldens, "train", i, features, levels[i])
    targets, refined = refine_first(published_detector, levels, goldens, "train")
    losses = detection_losses(targets, refined, [torch.tensor(fill.FULL_BOXES)], [torch.tensor(fill.FULL_LABELS)])
    np.testing.assert_allclose(torch.stack(losses).detach().double(), goldens["train/losses"], rtol=1e-4)
    losses.total().backward()
    norms = np.array([float(parameters[renamed[name]].grad.norm()) for name in names])
    np.testing.assert_allclose(norms, goldens["train/grad_norms"], rtol=1e-3, atol=1e-9)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
        parameter.grad = None


def refine_first(
    detector: EndoFMForDetection, levels: list[PyramidLevel], goldens: fill.Goldens, prefix: str
) -> tuple[list[PyramidLevel], list[RefinedLevel]]:
    targets = [level.select(0) for level in levels]
    refined = detector.refine(targets, [level.select(slice(1, None)) for level in levels])
    for name, second in zip(fill.LEVELS, refined, strict=True):
        goldens.check(f"{prefix}/stft_logits/{name}", second.logits[0])
        goldens.check(f"{prefix}/stft_reg/{name}", second.deltas[0])
    return targets, refined


def check_tokens(detector: EndoFMForDetection, clip: torch.Tensor, goldens: fill.Goldens, prefix: str) -> None:
    """Compare the tokens after three blocks and after the last norm, in the original's order."""
    blocks = (0, 5, 11)
    outputs = dict(zip(blocks, detector.backbone.get_intermediate_layers(clip, blocks, norm=False), strict=True))
    for block, out in outputs.items():
        goldens.check(f"{prefix}/vit/block{block}", as_published(out.cls_token, out.patch_tokens))
    last = outputs[11]
    normed = detector.backbone.norm(as_published(last.cls_token, last.patch_tokens))
    goldens.check(f"{prefix}/vit/norm", normed)


def as_published(cls_token: torch.Tensor, patch_tokens: torch.Tensor | None) -> torch.Tensor:
    """Order tokens as the original: class token, then rows, columns, time fastest."""
    assert patch_tokens is not None
    patches = patch_tokens.permute(0, 2, 3, 1, 4).flatten(1, 3)
    return torch.cat((cls_token[:, None], patches), dim=1)


def test_a_converted_file_says_how_it_is_used(published_detector: EndoFMForDetection) -> None:
    assert published_detector.labels == ("adenomatous", "hyperplastic")
    head, preprocess = published_detector.head_config, published_detector.config.preprocess
    assert (head.supports, head.num_supports, head.support_reach, head.clip_frames) == ("random", 10, 9, 1)
    assert (head.score_threshold, head.candidates, head.nms_iou, head.max_boxes) == (0.05, 1000, 0.6, 300)
    assert not head.nms_across_classes
    assert (preprocess.crop, preprocess.crop_size, preprocess.channels) == ("none", 640, "bgr")


def test_every_published_name_has_one_of_ours(published_detector: EndoFMForDetection) -> None:
    renamed, unused = from_published(fill.published_shapes())
    assert renamed == {name: tuple(t.shape) for name, t in published_detector.state_dict().items()}
    assert len(renamed) + len(unused) == 325
    assert all(name.startswith("backbone.body.fpn1.") for name in unused)
    assert sum(p.numel() for p in published_detector.parameters()) == 137_816_402 - 4_721_664


@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod."])
def test_names_are_renamed_back(prefix: str) -> None:
    shapes = fill.published_shapes()
    wrapped = {prefix + name: shape for name, shape in shapes.items()}
    stored = {name: torch.empty(0) for name in wrapped}
    assert DetectionTaskLayout().matches(stored)
    assert DetectionTaskLayout().matches({"model_state_dict": stored, "epoch": 3})
    renamed, unused = from_published(wrapped)
    back = to_published_detector(renamed)
    assert back == {n: s for n, s in shapes.items() if prefix + n not in unused}


def predict(model: EndoFMForDetection, frames: np.ndarray[Any, Any], **options: Any) -> list[Any]:
    return list(model.predict(frames, min_score=0.0, progress=False, **options))


def test_weights_that_give_no_numbers_are_an_error() -> None:
    model = tiny_detector()
    with torch.no_grad():
        model.head.first.cls_logits.bias[0] = float("nan")
    with pytest.raises(EncoderOutputError, match="not numbers"):
        predict(model, footage(2))


def test_models_are_saved_and_loaded(tmp_path: Path) -> None:
    model = tiny_detector()
    model.save_pretrained(tmp_path / "model")
    with pytest.warns(UserWarning, match="its boxes mean nothing"):
        again = EndoFMForDetection.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    with pytest.warns(UserWarning, match="mean nothing"):
        encoder = EndoFM.from_pretrained(tmp_path / "model")  # the encoder alone, to train further
    assert torch.equal(encoder.cls_token, model.backbone.cls_token)
    wanted = DetectionHeadConfig(labels=("polyp",), channels=16, norm_groups=4)
    other = EndoFMForDetection.from_backbone(encoder, wanted, preprocess=model.config.preprocess)
    assert torch.equal(other.backbone.cls_token, model.backbone.cls_token)
    assert other.labels == ("polyp",)
    frames = footage(3)
    for a, b in zip(predict(model, frames), predict(again, frames), strict=True):
        assert np.array_equal(a.boxes, b.boxes)


def test_bfloat16_finds_about_the_same() -> None:
    model, frames = tiny_detector(), footage(4)
    exact, rough = predict(model, frames), predict(model, frames, precision="bfloat16")
    for a, b in zip(exact, rough, strict=True):
        np.testing.assert_allclose(a.scores[:5], b.scores[:5], atol=0.03)


def test_the_smallest_score_travels_with_the_weights(tmp_path: Path) -> None:
    model, frames = tiny_detector(min_score=0.72), footage(2)
    model.save_pretrained(tmp_path / "model")
    with pytest.warns(UserWarning, match="mean nothing"):
        again = EndoFMForDetection.from_pretrained(tmp_path / "model")
    every = [frame.scores for frame in predict(again, frames)]
    reported = [frame.scores for frame in again.predict(frames, progress=False)]
    assert min(map(len, reported)) > 0
    for some, all_ in zip(reported, every, strict=True):
        np.testing.assert_array_equal(some, all_[all_ >= 0.72])
        assert len(some) < len(all_)
    # A file with the usual one can be read by a release that does not know the field.
    assert "min_score" not in tiny_detector().config.to_json()
