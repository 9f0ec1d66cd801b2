"""Tuning: measure other answers to the free choices of kernels, keep the best as records.

``tasks`` finds what can be tuned, ``search`` proposes, ``worker`` compiles, a runner measures,
``session`` ties them together, ``records`` keeps and ``apply`` uses what was found.
"""
