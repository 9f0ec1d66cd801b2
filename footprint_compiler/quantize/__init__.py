"""Float ONNX in, QDQ ONNX out: post-training quantization in NumPy around ONNX Runtime."""
