"""Export to ONNX Runtime: convert, optimize, quantize, verify and run a compact BERT."""
