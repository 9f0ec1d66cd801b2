"""ONNX backend node tests, run through fpc: `python -m tests.conformance`."""
