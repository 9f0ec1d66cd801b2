"""Row-streamed execution: chains of kernels that pass rows on instead of whole tensors.

Pure Python over integers, like ``memory``: which rows a row needs, in which order rows are
computed, how many of them a ring must hold, and which chains are worth it. Never imports TVM.
"""
