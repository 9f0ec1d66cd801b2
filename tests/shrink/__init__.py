"""Tests of lossless shrinking."""
