"""The network of the detector: encoder, pyramid, first stage and refinement."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from endofm.errors import InputError
from endofm.models.encoder import VideoTransformer
from endofm.models.frame_encoder import FrameTransformer
from endofm.tasks.detection.cells import Level
from endofm.tasks.detection.head import DetectionHead
from endofm.tasks.detection.refinement import Refined

GRID_MULTIPLE = 2
"""Height and width are multiples of this many patches, because one level halves the grid."""


class VideoDetector(nn.Module):
    """Endo-FM as a detector of objects in the frames of a video.

    Every frame is looked at once (:meth:`look`); a target frame is then refined with what was seen in others
    (:meth:`refine`).

    Args:
        backbone: The encoder; the only backbone.
        head: Everything after it.
    """

    def __init__(self, backbone: VideoTransformer | FrameTransformer, head: DetectionHead) -> None:
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
        patches = self.backbone.forward_features(clips).patch_tokens
        assert patches is not None
        return patches.flatten(0, 1).permute(0, 3, 1, 2).contiguous()

    def look(self, clips: Tensor) -> list[Level]:
        """Run everything that concerns one frame by itself, on every frame of some clips.

        Args:
            clips: ``(batch, 3, time, height, width)``, normalised as the weights' preprocessing says.

        Returns:
            One entry per level of the pyramid, each about ``batch * time`` frames, clip by clip.

        Raises:
            InputError: As :meth:`tokens`.
        """
        return self.head.look(self.tokens(clips))

    def refine(self, targets: Sequence[Level], supports: Sequence[Level]) -> list[Refined]:
        """See :meth:`endofm.tasks.detection.head.DetectionHead.refine`."""
        return self.head.refine(targets, supports)

    def forward(
        self, clips: Tensor, targets: Tensor | None = None, *, together: bool = True
    ) -> tuple[list[Level], list[Refined]]:
        """Look at every frame of some clips, and refine one target frame of each with all its others.

        Args:
            clips: ``(batch, 3, time, height, width)``.
            targets: Place of the target in each clip, int64 ``(batch,)``; the first frames by default.
            together: Let the frames of a clip share the encoder's attention over time; otherwise each passes alone.

        Returns:
            Both stages of the target frames.
        """
        batch, time = clips.shape[0], clips.shape[2]
        levels = self.look(clips if together else clips.transpose(1, 2).flatten(0, 1).unsqueeze(2))
        first = torch.arange(batch, device=clips.device) * time
        chosen = first if targets is None else first + targets.to(clips.device)
        is_target = torch.zeros(batch * time, dtype=torch.bool, device=clips.device)
        is_target[chosen] = True
        own = [level.take(chosen) for level in levels]
        others = (~is_target).nonzero()[:, 0]  # clip by clip
        return own, self.refine(own, [level.take(others) for level in levels])

    def freeze_offsets(self) -> None:
        """Keep the offsets' maps of the alignment as they are, as the original does (it never trains them)."""
        for align in (self.head.refinement.cls_align, self.head.refinement.box_align):
            align.conv_offset.requires_grad_(False)


def joined_levels(parts: Sequence[Sequence[Level]]) -> list[Level]:
    """Join what was seen of several groups of frames, level by level."""
    return [
        Level(levels[0].stride, *(torch.cat(tensors) for tensors in zip(*(lv.tensors() for lv in levels), strict=True)))
        for levels in zip(*parts, strict=True)
    ]
