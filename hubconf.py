"""Entry points of ``torch.hub``; see ``endofm/entrypoints.py``."""

# torch.hub looks these modules up before it imports anything, and names those that are missing. timm is needed by the
# published segmentation network and torchvision by the detector; both are imported only there.
dependencies = ["torch", "torchvision", "timm", "huggingface_hub", "safetensors", "av", "numpy", "PIL"]

from endofm.entrypoints import (  # noqa: E402, F401
    endofm_base_8x224,
    endofm_base_8x224_random,
    endofm_classification,
    endofm_classification_tiny_random,
    endofm_detection,
    endofm_detection_tiny_random,
    endofm_encoder,
    endofm_nano_4x96,
    endofm_processor,
    endofm_segmentation,
    endofm_segmentation_base_random,
    endofm_segmentation_tiny_random,
    endofm_small_8x224_random,
    endofm_tiny_8x224_random,
)
