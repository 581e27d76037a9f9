"""Several views of a batch through one network."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

import torch
from torch import Tensor, nn

from endofm.errors import InputError
from endofm.models.encoder import VideoTransformer


def group_by_shape(views: Sequence[Tensor]) -> list[list[int]]:
    """Return the positions of views of equal shape, groups in the order of their first view."""
    groups: dict[torch.Size, list[int]] = {}
    for position, view in enumerate(views):
        groups.setdefault(view.shape, []).append(position)
    return list(groups.values())


class MultiCropNetwork(nn.Module):
    """Runs views of equal shape through the backbone as one batch, and all class tokens through the head at once.

    The original joins only views that follow each other, for exactly 10 or 2 views; with its own list of views that
    gives the same calls. Our encoder takes views of all shapes in one call.

    Args:
        backbone: Takes clips ``(batch, 3, time, height, width)``, returns class tokens ``(batch, embed_dim)``.
        head: Takes and returns rows.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        """Return logits ``(views * clips, out_dim)``, ordered by view, then by clip.

        Args:
            views: Each ``(clips, 3, time, height, width)``, as the backbone takes it.

        Raises:
            InputError: If there are no views, or they differ in the number of clips.
        """
        if not views or len({len(view) for view in views}) > 1:
            raise InputError(f"expected views of one batch, got batches of {[len(view) for view in views]} clips")
        groups = group_by_shape(views)
        joined = [views[group[0]] if len(group) == 1 else torch.cat([views[i] for i in group]) for group in groups]
        if isinstance(self.backbone, VideoTransformer):
            tokens = self.backbone.forward_many(joined)
        else:
            tokens = torch.cat([self.backbone(clips) for clips in joined])
        grouped = [position for group in groups for position in group]
        in_order = [part for _, part in sorted(zip(grouped, tokens.chunk(len(views)), strict=True), key=itemgetter(0))]
        logits: Tensor = self.head(torch.cat(in_order))
        return logits
