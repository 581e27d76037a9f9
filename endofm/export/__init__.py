"""Encoders for other programs: ONNX, OpenVINO and ``torch.export`` files, and folders for ``transformers``."""

from endofm.export.encoder_file import export_encoder
from endofm.export.transformers_folder import export_transformers

__all__ = ["export_encoder", "export_transformers"]
