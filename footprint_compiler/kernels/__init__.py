"""Kernel families: how each operator becomes a TIR function."""
