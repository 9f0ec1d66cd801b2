"""The whole order of the passes, on one page."""

from __future__ import annotations

from typing import Any

from tvm import relax

from footprint_compiler.kernels.anchors import legalize_map

def lower_to_tir(module: Any) -> Any:
    """Relax operators -> fused calls of TIR functions, with view operators left in place."""
    module = relax.transform.DecomposeOpsForInference()(module)
    module = relax.transform.FoldConstant()(module)
    module = relax.transform.ConvertLayout({"relax.nn.conv2d": ["NHWC", "OIHW"]})(module)
    module = relax.transform.FoldConstant()(module)
    module = relax.transform.LegalizeOps(legalize_map(), skip_ops=["relax.reshape","relax.flatten","relax.squeeze","relax.expand_dims"])(module)
    module = relax.transform.AnnotateTIROpPattern()(module)
    module = relax.transform.FoldConstant()(module)
    module = relax.transform.FuseOps()(module)
    module = relax.transform.FuseTIR()(module)
    return relax.transform.DeadCodeElimination()(module)
