"""Everything of the detector but its encoder."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from endofm.tasks.detection.cells import Level
from endofm.tasks.detection.fcos import FirstStage
from endofm.tasks.detection.pyramid import SimplePyramid, level_strides
from endofm.tasks.detection.refinement import Refined, Refinement


class DetectionHead(nn.Module):
    """Pyramid, anchor-free first stage, and refinement from other frames of the video.

    The first stage looks at each frame by itself, so that it runs once per frame, however many target frames the
    frame then supports.

    Args:
        embed_dim: Width of the encoder's tokens.
        patch_size: Side of the encoder's patches in pixels, an even number.
        num_classes: Foreground classes.
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

    def look(self, tokens: Tensor) -> list[Level]:
        """Run pyramid and first stage.

        Args:
            tokens: Patch tokens on their grid, ``(frames, embed_dim, rows, columns)``.

        Returns:
            One entry per level, each about all frames.
        """
        levels: list[Level] = self.first(self.pyramid(tokens))
        return levels

    def refine(self, targets: Sequence[Level], supports: Sequence[Level]) -> list[Refined]:
        """Run the second stage on target frames, given the first stage of their supports.

        Args:
            targets: One entry per level, about ``n`` frames.
            supports: Likewise about ``n * K`` frames, those of one target one after the other; ``K`` may be 0.
        """
        refined: list[Refined] = self.refinement(targets, supports)
        return refined
