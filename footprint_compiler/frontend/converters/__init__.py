"""One file per family of operators; each has a dict ``CONVERTERS`` from operator to function."""
