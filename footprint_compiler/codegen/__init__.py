"""From kernels and a plan to a library, a header and a manifest."""
