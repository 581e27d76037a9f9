"""From frames to clips: resize, crop, field of view, and the processor that combines them."""

from endofm.transforms.geometry import Box, Geometry
from endofm.transforms.processor import Processor

__all__ = ["Box", "Geometry", "Processor"]
