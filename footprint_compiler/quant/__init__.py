"""Quantized arithmetic: pure Python and NumPy, the definitions that every kernel follows."""
