"""Targets as data."""
