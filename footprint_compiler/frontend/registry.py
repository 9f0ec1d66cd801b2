"""Every operator that fpc converts, and those that it refuses with a particular reason."""

from __future__ import annotations

from typing import Any

import onnx

from footprint_compiler.frontend.context import Convert, Table
from footprint_compiler.frontend.converters import (
    activation,
    convolution,
    einsum,
    elementwise,
    indexing,
    integer,
    linear,
    normalization,
    patches,
    pooling,
    quantization,
    recurrent,
    reduction,
    resize,
    sampling,
    shape,
    signal,
    slicing,
    standardize,
)
from footprint_compiler.frontend.expand import NO_CONVERTER, REPLACE, has_definition
from footprint_compiler.frontend.qoperator import REWRITES

_TABLES: tuple[Table, ...] = (
    elementwise.CONVERTERS,
    activation.CONVERTERS,
    linear.CONVERTERS,
    integer.CONVERTERS,
    convolution.CONVERTERS,
    pooling.CONVERTERS,
    normalization.CONVERTERS,
    standardize.CONVERTERS,
    reduction.CONVERTERS,
    shape.CONVERTERS,
    slicing.CONVERTERS,
    indexing.CONVERTERS,
    resize.CONVERTERS,
    recurrent.CONVERTERS,
    quantization.CONVERTERS,
    einsum.CONVERTERS,
    sampling.CONVERTERS,
    patches.CONVERTERS,
    signal.CONVERTERS,
)

CONVERTERS: dict[tuple[str, str], Convert] = {
    **{("", operator): convert for table in _TABLES for operator, convert in table.items()},
    **{("ai.onnx.ml", operator): c for operator, c in indexing.ML_CONVERTERS.items()},
}

_LOOP = (
    "its trip count or condition is decided at run time",
    "export the model with the loop unrolled, or as an LSTM, GRU or RNN",
)
_SCAN = (
    "a scan over a tensor is not compiled",
    "export the model with the scan unrolled, or as an LSTM, GRU or RNN",
)
_DATA = ("the shape of its output depends on data", "move it out of the model")
_TREE = (
    "tree ensembles are not compiled",
    "keep this model in ONNX Runtime, or train a small neural network instead",
)

REFUSED: dict[tuple[str, str], tuple[str, str]] = {
    ("", "Loop"): _LOOP,
    ("", "Scan"): _SCAN,
    ("", "NonZero"): _DATA,
    ("", "Unique"): _DATA,
    ("", "NonMaxSuppression"): _DATA,
    ("ai.onnx.ml", "TreeEnsemble"): _TREE,
    ("ai.onnx.ml", "TreeEnsembleClassifier"): _TREE,
    ("ai.onnx.ml", "TreeEnsembleRegressor"): _TREE,
}


def why_unsupported(op_type: str, domain: str, opset: int) -> tuple[str, str] | None:
    """Reason and remedy when no node of this operator can be converted, else None."""
    if (domain, op_type) in REFUSED:
        return REFUSED[domain, op_type]
    if (domain, op_type) in CONVERTERS or (domain, op_type) == ("", "If"):
        return None
    return None if has_definition(op_type, domain, opset) else (NO_CONVERTER, REPLACE)


def supported_ops() -> dict[str, str]:
    """Operator -> how it is compiled: ``kernel``, ``rewritten as QDQ``, ``expanded`` or ``If``."""
    found = {_name(domain, op): "kernel" for domain, op in CONVERTERS}
    found |= {_name(domain, op): "rewritten as QDQ" for domain, op in REWRITES}
    newest = onnx.defs.onnx_opset_version()
    schema: Any
    for schema in onnx.defs.get_all_schemas():
        key = (schema.domain, schema.name)
        if key in CONVERTERS or key in REWRITES or key in REFUSED or schema.domain:
            continue
        if schema.has_function and _expands(schema, newest):
            found[_name(*key)] = "expanded into other operators"
    found["If"] = "with a condition known at compile time"
    return dict(sorted(found.items()))


def _name(domain: str, op_type: str) -> str:
    return f"{domain}::{op_type}" if domain else op_type


def _expands(schema: Any, opset: int) -> bool:
    """Whether every operator in the function body has a kernel, or is folded away."""
    return all(
        (step.domain, step.op_type) in CONVERTERS
        or step.op_type in ("Constant", "ConstantOfShape", "Range")
        or (step.op_type != schema.name and has_definition(step.op_type, step.domain, opset))
        for step in schema.function_body.node
    )
