"""Tuning records that come with fpc: one folder per target, read by path, never imported."""
