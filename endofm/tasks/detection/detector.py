"""The detection network: encoder, pyramid, anchor-free first stage, and refinement from other frames."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from endofm.errors import InputError
from endofm.models.encoder import ClipEncoder
from endofm.models.frame_tokens import frame_tokens
from endofm.tasks.detection.cells import PyramidLevel
from endofm.tasks.detection.fcos import FirstStage
from endofm.tasks.detection.pyramid import SimplePyramid, level_strides
from endofm.tasks.detection.refinement import RefinedLevel, Refinement

GRID_MULTIPLE = 2
"""Height and width are multiples of this many patches, because one level halves the grid."""


def side_multiple(patch_size: int) -> int:
    """Return of which number the sides of a detector's frames are multiples: 32 pixels where two patches divide it."""
    step = GRID_MULTIPLE * patch_size
    return step if 32 % step else 32


class DetectionHead(nn.Module):
    """Pyramid, first stage and refinement: the detector without its encoder.

    The first stage processes each frame independently, so it runs once per frame, regardless of how many target frames
    that frame supports afterwards.

    Args:
        embed_dim: Width of the encoder's tokens.
        patch_size: Side of the encoder's patches in pixels, an even number.
        num_classes: Number of object classes, background excluded.
        channels: Width of the pyramid and of the towers.
        tower_depth: Convolutions in each tower.
        norm_groups: Groups of the towers' group normalisation.
        offset_groups: Groups of channels that share their offsets in the alignment.

    Attributes:
        strides: Stride of each level in pixels.
    """

    def __init__(
        self,
        *,
        embed_dim: int = 768,
        patch_size: int = 16,
        num_classes: int = 2,
        channels: int = 256,
        tower_depth: int = 4,
        norm_groups: int = 32,
        offset_groups: int = 4,
    ) -> None:
        super().__init__()
        self.strides = level_strides(patch_size)
        self.pyramid = SimplePyramid(embed_dim, channels)
        self.first = FirstStage(
            num_classes, channels=channels, strides=self.strides, depth=tower_depth, norm_groups=norm_groups
        )
        self.refinement = Refinement(num_classes, channels=channels, groups=offset_groups)

    def first_stage(self, tokens: Tensor) -> list[PyramidLevel]:
        """Run the pyramid and the first stage.

        Args:
            tokens: Patch tokens on their grid, ``(frames, embed_dim, rows, columns)``.

        Returns:
            One entry per pyramid level, each for all frames.
        """
        levels: list[PyramidLevel] = self.first(self.pyramid(tokens))
        return levels

    def refine(self, targets: Sequence[PyramidLevel], supports: Sequence[PyramidLevel]) -> list[RefinedLevel]:
        """Run the second stage on target frames, given the first stage of their supports.

        Args:
            targets: One entry per level, for ``n`` frames.
            supports: One entry per level, for ``n * K`` frames, grouped by target; ``K`` may be 0.
        """
        refined: list[RefinedLevel] = self.refinement(targets, supports)
        return refined


class VideoDetector(nn.Module):
    """Endo-FM as a detector of objects in the frames of a video.

    Every frame passes through :meth:`first_stage` once; :meth:`refine` then improves a target frame with the first
    stage of others.

    Args:
        backbone: The encoder.
        head: Everything after it.
    """

    def __init__(self, backbone: ClipEncoder, head: DetectionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def tokens(self, clips: Tensor) -> Tensor:
        """Return the patch tokens of every frame on their grid.

        Args:
            clips: ``(batch, 3, time, height, width)``; frames of one clip share the encoder's attention over time.

        Returns:
            ``(batch * time, embed_dim, rows, columns)``, clip by clip.

        Raises:
            InputError: If height or width is not a multiple of two patches.
        """
        step = GRID_MULTIPLE * self.backbone.patch_size
        if clips.ndim == 5 and (clips.shape[-2] % step or clips.shape[-1] % step):
            raise InputError(
                f"height and width must be multiples of {step} (two patches), got {clips.shape[-2]} x {clips.shape[-1]}"
            )
        patches = frame_tokens(self.backbone, clips)
        return patches.flatten(0, 1).permute(0, 3, 1, 2).contiguous()  # (B T) D h w

    def first_stage(self, clips: Tensor) -> list[PyramidLevel]:
        """Run everything that concerns a single frame, on every frame of some clips.

        Args:
            clips: ``(batch, 3, time, height, width)``, normalised as the weights' preprocessing says.

        Returns:
            One entry per pyramid level, each for ``batch * time`` frames, clip by clip.

        Raises:
            InputError: As :meth:`tokens`.
        """
        return self.head.first_stage(self.tokens(clips))

    def refine(self, targets: Sequence[PyramidLevel], supports: Sequence[PyramidLevel]) -> list[RefinedLevel]:
        """Run the second stage; see :meth:`DetectionHead.refine`."""
        return self.head.refine(targets, supports)

    def forward(
        self, clips: Tensor, targets: Tensor | None = None, *, together: bool = True
    ) -> tuple[list[PyramidLevel], list[RefinedLevel]]:
        """Run the first stage on every frame of some clips, and refine one target frame of each with all its others.

        Args:
            clips: ``(batch, 3, time, height, width)``.
            targets: Index of the target frame in each clip, int64 ``(batch,)``; the first frames by default.
            together: Let the frames of a clip share the encoder's attention over time; otherwise each frame passes as
                a clip of one frame.

        Returns:
            Both stages of the target frames.
        """
        batch, time = clips.shape[0], clips.shape[2]
        # Without attention over time, every frame becomes a clip: B C T H W -> (B T) C 1 H W.
        levels = self.first_stage(clips if together else clips.transpose(1, 2).flatten(0, 1).unsqueeze(2))
        first = torch.arange(batch, device=clips.device) * time
        selected = first if targets is None else first + targets.to(clips.device)
        is_target = torch.zeros(batch * time, dtype=torch.bool, device=clips.device)
        is_target[selected] = True
        target_levels = [level.select(selected) for level in levels]
        # In ascending order, hence grouped by clip: the order that refine() expects of supports.
        others = (~is_target).nonzero()[:, 0]
        return target_levels, self.refine(target_levels, [level.select(others) for level in levels])

    def freeze_offsets(self) -> None:
        """Freeze the convolutions that predict the alignment's offsets; the published code never trains them."""
        for align in (self.head.refinement.cls_align, self.head.refinement.box_align):
            align.conv_offset.requires_grad_(False)


def join_levels(parts: Sequence[Sequence[PyramidLevel]]) -> list[PyramidLevel]:
    """Concatenate the first stage of several groups of frames, level by level."""
    return [
        PyramidLevel(
            levels[0].stride, *(torch.cat(tensors) for tensors in zip(*(lv.tensors() for lv in levels), strict=True))
        )
        for levels in zip(*parts, strict=True)
    ]
