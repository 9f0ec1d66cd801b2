"""fpc, the footprint compiler: ONNX in, a small C library with a static memory plan out."""
