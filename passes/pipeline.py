"""The whole order of the passes, on one page."""

from __future__ import annotations

from tvm import relax

from footprint_compiler.kernels.anchors import legalize_map
from footprint_compiler.kernels.machine import Machine
from footprint_compiler.passes.base import Pass, Upstream
from footprint_compiler.passes.bound_fusion import BoundFusion
from footprint_compiler.passes.choose_layout import ChooseLayout
from footprint_compiler.passes.cut_broadcasts import CutBroadcasts
from footprint_compiler.passes.expand_power import ExpandPower
from footprint_compiler.passes.fold_affine import FoldAffine
from footprint_compiler.passes.fold_constants import FoldConstants
from footprint_compiler.passes.keep_apart import KeepApart
from footprint_compiler.passes.keep_views import VIEW_OPS, conditional_legalize_map
from footprint_compiler.passes.lower_qdq import LowerQdq
from footprint_compiler.passes.move_codes import MoveCodes
from footprint_compiler.passes.name_float_islands import NameFloatIslands
from footprint_compiler.passes.narrow_products import NarrowProducts
from footprint_compiler.passes.quantize_ends import QuantizeEnds
from footprint_compiler.passes.sign_codes import SignCodes


def layout_phase(
    integer: bool = True, signed: bool = False, machine: Machine | None = None
) -> list[Pass]:
    """Relax to Relax: fewer operators, layouts, and QDQ on integers unless told otherwise.

    ``signed``: for cores whose integer kernels read int8 only; ``machine``: whose instructions
    layouts are chosen by.
    """
    lower_qdq: list[Pass] = [
        *([SignCodes()] if signed else []),  # before codes move: readers are DequantizeLinear here
        MoveCodes(),  # after layout: transpositions and reshapes come from there
        LowerQdq(),  # after layout: integer kernels are channels last
    ]
    return [
        ExpandPower(),
        FoldAffine(),  # before layout: it knows channel axes by their ONNX position
        ChooseLayout(machine) if machine else ChooseLayout(),
        *(lower_qdq if integer else []),
        NarrowProducts(),
        FoldConstants(),  # after QDQ: weights that stay in float are dequantized here
        Upstream("eliminate-common-subexpressions", relax.transform.EliminateCommonSubexpr()),
        Upstream("eliminate-dead-code", relax.transform.DeadCodeElimination()),
        NameFloatIslands(),  # after dead code: float operators that integer ones replaced are gone
        *([QuantizeEnds(machine)] if machine else []),  # after all that looks for QuantizeLinear
    ]


def legalize_phase(machine: Machine) -> list[Pass]:
    """Relax operators to calls of TIR functions; views stay operators."""
    return [
        Upstream("decompose-operators", relax.transform.DecomposeOpsForInference()),
        Upstream(
            "legalize",
            relax.transform.LegalizeOps(
                {**legalize_map(machine), **conditional_legalize_map()}, list(VIEW_OPS)
            ),
        ),
        Upstream("annotate-patterns", relax.transform.AnnotateTIROpPattern()),
        BoundFusion(),
        CutBroadcasts(),
        KeepApart(machine.c_unit),  # the last word on patterns
    ]


def fuse_phase() -> list[Pass]:
    """Group calls: elementwise work joins the kernel that produces its operand."""
    return [Upstream("fuse-operators", relax.transform.FuseOps())]


def merge_phase() -> list[Pass]:
    """One TIR function for each group."""
    return [
        Upstream("fuse-tir", relax.transform.FuseTIR()),
        Upstream("eliminate-dead-functions", relax.transform.DeadCodeElimination()),
    ]
