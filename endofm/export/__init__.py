"""The encoder in formats that other programs run: ONNX, OpenVINO, ``torch.export``."""
