"""Importing: ONNX in, a Relax graph out."""
