"""The first stage: an anchor-free detector on every level of the pyramid (FCOS, arXiv 1904.01355)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from endofm.tasks.detection.cells import PyramidLevel, cell_centres, distances_to_boxes

PRIOR = 0.01
"""Probability of every class at every cell before training (arXiv 1708.02002, section 4.1)."""

FIRST_DISTANCE = 1.0
"""Distance to every side of a box at every cell before training, in strides."""


class Scale(nn.Module):
    """A trainable scalar factor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Multiply by the factor."""
        return x * self.scale


def _tower(channels: int, depth: int, groups: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.GroupNorm(groups, channels), nn.ReLU()]
    return nn.Sequential(*layers)


class FirstStage(nn.Module):
    """Class, box and centerness at every cell, with weights shared by all levels.

    Box and centerness are both predicted from the box tower. Distances are ``ReLU(scale * prediction) * stride``
    pixels, with one trainable scale per level.

    Args:
        num_classes: Number of object classes.
        channels: Width of the pyramid.
        strides: Stride of each level in pixels.
        depth: Convolutions in each of the two towers.
        norm_groups: Groups of the towers' group normalisation.
    """

    def __init__(
        self, num_classes: int, *, channels: int = 256, strides: Sequence[int], depth: int = 4, norm_groups: int = 32
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.cls_tower = _tower(channels, depth, norm_groups)
        self.bbox_tower = _tower(channels, depth, norm_groups)
        self.cls_logits = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(channels, 4, 3, padding=1)
        self.centerness = nn.Conv2d(channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in self.strides)
        init_convolutions(self)
        init_class_bias(self.cls_logits)
        init_distance_bias(self.bbox_pred)

    def forward(self, pyramid: Sequence[Tensor]) -> list[PyramidLevel]:
        """Run the first stage on every level of some frames.

        Args:
            pyramid: Maps ``(frames, channels, h, w)`` of :class:`~endofm.tasks.detection.pyramid.SimplePyramid`.
        """
        levels = []
        for features, stride, scale in zip(pyramid, self.strides, self.scales, strict=True):
            cls_tower, box_tower = self.cls_tower(features), self.bbox_tower(features)
            # Normalised by the stride, all levels predict distances of the same magnitude with the same weights. In
            # float32 from here on: bfloat16 has 8 bits, which is 2 pixels at x = 400.
            distances = torch.relu(scale(self.bbox_pred(box_tower))).float() * stride
            centres = cell_centres((features.shape[-2], features.shape[-1]), stride, features.device)
            # Detached: the second stage aligns features by these boxes and must not move them through its own loss.
            boxes = distances_to_boxes(centres, distances.detach().flatten(2).transpose(1, 2))
            logits, centerness = self.cls_logits(cls_tower), self.centerness(box_tower)
            levels.append(PyramidLevel(stride, cls_tower, box_tower, logits, centerness, distances, boxes))
        return levels


def init_convolutions(module: nn.Module) -> None:
    """Draw the weights of every convolution from a normal distribution of deviation 0.01; set biases to zero."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def init_class_bias(layer: nn.Conv2d) -> None:
    """Set the bias of class logits so that every class starts with the probability :data:`PRIOR`.

    Almost all cells are background: starting from 0.5, their loss would swamp that of the few objects.
    """
    assert layer.bias is not None
    # sigmoid(b) = PRIOR  <=>  b = -log((1 - PRIOR) / PRIOR)
    nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))


def init_distance_bias(layer: nn.Conv2d, distance: float = FIRST_DISTANCE) -> None:
    """Set the bias of the distances, in strides.

    The published code starts at zero, where the ReLU cuts off half of all distances. If training cuts off the others as
    well, every box is a point, its generalised IoU loss is 1 whatever the weights are, and no gradient leads out of
    that.
    """
    assert layer.bias is not None
    nn.init.constant_(layer.bias, distance)
