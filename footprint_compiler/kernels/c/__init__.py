"""Kernels as C for cores where LLVM's code from TIR falls short: Cortex-M, 32-bit RISC-V.

An operator that ``lower-qdq`` made says in an attribute what it computes (``operator``). A family
(``dsp_conv``, ...) turns that into a ``CKernel``: the name of a C function that all layers of the
family share, the constants that this layer gives it, and how its weights are laid out. The
functions come from templates, and only those that a model needs are written out (``source``).

Float32 layers come from fused TIR instead: ``float_layer`` reads what follows a convolution, and
``float_kernels`` makes the ``CKernel``.
"""
