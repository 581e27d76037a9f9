"""Multi-crop: several views of a batch through one network."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor, nn

from endofm.errors import InputError
from endofm.models.encoder import VideoTransformer


def group_by_shape(views: Sequence[Tensor]) -> list[list[int]]:
    """Return the indices of views of equal shape, groups in the order of their first view."""
    groups: dict[torch.Size, list[int]] = {}
    for index, view in enumerate(views):
        groups.setdefault(view.shape, []).append(index)
    return list(groups.values())


class MultiCropOutput(NamedTuple):
    """Result for several views of a batch.

    Attributes:
        logits: ``(views * clips, out_dim)``.
        tokens: Class tokens, ``(views * clips, embed_dim)``.
    """

    logits: Tensor
    tokens: Tensor


class MultiCropNetwork(nn.Module):
    """Backbone on views of equal shape as one batch, then the head on all class tokens at once.

    Args:
        backbone: Maps clips ``(batch, 3, time, height, width)`` to class tokens ``(batch, embed_dim)``.
        head: Maps rows to rows.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, views: Sequence[Tensor]) -> MultiCropOutput:
        """Return logits and class tokens, ordered by view, then by clip.

        Args:
            views: Each ``(clips, 3, time, height, width)``.

        Raises:
            InputError: If there are no views, or they differ in the number of clips.
        """
        if not views or len({len(view) for view in views}) > 1:
            raise InputError(f"expected views of one batch, got batches of {[len(view) for view in views]} clips")
        # The published code joins consecutive views only, for exactly 10 or 2 views; for its own list of views that
        # makes the same batches.
        groups = group_by_shape(views)
        joined = [views[group[0]] if len(group) == 1 else torch.cat([views[i] for i in group]) for group in groups]
        if isinstance(self.backbone, VideoTransformer):
            # Ours takes batches of several shapes in one call, which share the products that act on single tokens.
            tokens = self.backbone.forward_many(joined)
        else:
            tokens = torch.cat([self.backbone(clips) for clips in joined])
        # Class tokens come in the order of the groups; the loss expects the order of the views.
        grouped = [index for group in groups for index in group]
        in_order = [part for _, part in sorted(zip(grouped, tokens.chunk(len(views)), strict=True), key=itemgetter(0))]
        joined_tokens = torch.cat(in_order)
        return MultiCropOutput(self.head(joined_tokens), joined_tokens)
