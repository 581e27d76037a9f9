"""The operators of torchvision that the detector is built from, with a clear error where they are unavailable.

The wheels of torchvision hold compiled code that fits one build of torch only. With another build the import ends in
a RuntimeError about a missing operator, and nothing of the package can be used.
"""

from __future__ import annotations

from endofm.errors import MissingExtraError

try:
    from torchvision.ops import (
        FeaturePyramidNetwork,
        deform_conv2d,
        generalized_box_iou_loss,
        nms,
        sigmoid_focal_loss,
    )
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7
except (ImportError, RuntimeError) as error:
    raise MissingExtraError(
        "Detection needs torchvision in the build that belongs to the installed torch, and it cannot be imported here "
        f"({str(error).splitlines()[0]}). Install both from the same source, for example:  "
        "pip install torch torchvision --index-url https://download.pytorch.org/whl/cpu"
    ) from error

__all__ = [
    "FeaturePyramidNetwork",
    "LastLevelP6P7",
    "deform_conv2d",
    "generalized_box_iou_loss",
    "nms",
    "sigmoid_focal_loss",
]
