"""math"""
def lower_math(m): return m
