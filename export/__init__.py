"""Train the multi-head profile model and export it to ONNX."""
