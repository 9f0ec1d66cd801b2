"""Calibration data and ranges."""
