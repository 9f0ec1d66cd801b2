"""Tuning sessions and their records."""
