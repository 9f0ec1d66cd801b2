"""A fixed part of the conformance cases, and what the committed report promises."""

from __future__ import annotations

import functools
from collections import Counter

import pytest

from .cases import Case, bindings, load_cases
from .engines import with_fpc
from .execute import compare, run_case
from .report import read_results

RIGHT = [
    "add",
    "and_bcast4v3d",
    "argmax_keepdims_example_select_last_index",
    "attention_4d",
    "averagepool_2d_ceil",
    "averagepool_2d_same_lower",
    "basic_conv_with_padding",
    "batchnorm_example",
    "bitshift_right_int32_negative_shift",
    "cast_FLOAT_to_FLOAT16",
    "clip_default_inbounds",
    "concat_3d_axis_negative_2",
    "conv_with_autopad_same",
    "convinteger_with_padding",
    "convtranspose_output_shape",
    "cumsum_1d_reverse_exclusive",
    "depthtospace_crd_mode_example",
    "dequantizelinear_axis",
    "div_int32_trunc",
    "dynamicquantizelinear",
    "einsum_batch_diagonal",
    "expand_dim_changed",
    "gather_elements_negative_indices",
    "gathernd_example_int32",
    "gemm_all_attributes",
    "globalmaxpool",
    "gridsample_bicubic",
    "gru_seq_length",
    "hardmax_axis_1",
    "instancenorm_epsilon",
    "isinf_float16",
    "layer_normalization_3d_axis1_epsilon",
    "leakyrelu",
    "logsoftmax_axis_1",
    "lrn",
    "lstm_with_peepholes",
    "matmul_4d",
    "maxpool_with_argmax_2d_precomputed_pads",
    "mod_mixed_sign_float32",
    "nllloss_NCd1d2_reduction_mean",
    "onehot_with_negative_axis",
    "or3d",
    "pow",
    "prelu_broadcast",
    "qlinearconv",
    "qlinearmatmul_3D_int8_float32",
    "quantizelinear_axis",
    "reduce_log_sum_exp_keepdims_random",
    "reduce_max_do_not_keepdims_example",
    "reflect_pad",
    "resize_downsample_scales_cubic",
    "resize_upsample_sizes_nearest_round_prefer_ceil_asymmetric",
    "scatter_elements_with_reduction_max",
    "simple_rnn_batchwise",
    "slice_neg_steps",
    "softmax_large_number",
    "split_2d_uneven_split_opset18",
    "tile",
    "top_k_smallest",
    "triu_pos",
    "where_long_example",
]
REFUSED = {
    "loop11": "FPC-E012",
    "nonzero_example": "FPC-E012",
    "string_concat": "FPC-E012",
    "adam": "FPC-E012",
    "sequence_insert_at_back": "FPC-E012",
}


@functools.cache
def _cases() -> dict[str, Case]:
    return {case.name: case for case in load_cases()}


def test_names_are_those_of_the_onnx_package() -> None:
    assert set(RIGHT) | set(REFUSED) <= set(_cases())
    assert len(RIGHT) == len(set(RIGHT)) >= 55


@pytest.mark.parametrize("name", RIGHT)
def test_right(name: str) -> None:
    outcome = run_case(_cases()[name], with_fpc)
    assert (outcome.status, outcome.detail) == ("right", "")


@pytest.mark.parametrize("name", list(REFUSED))
def test_refused(name: str) -> None:
    outcome = run_case(_cases()[name], with_fpc)
    assert (outcome.status, outcome.error) == ("refused", REFUSED[name])


def test_committed_report() -> None:
    rows = read_results()
    counts = Counter(row.status for row in rows)
    assert set(counts) <= {"right", "refused"}
    assert counts["right"] >= 1200
    assert all(row.error and row.operator for row in rows if row.status == "refused")
    by_name = {row.name: row.status for row in rows}
    assert {by_name[name] for name in RIGHT} == {"right"}


def test_only_inputs_that_set_shapes_are_bound() -> None:
    case = _cases()["reshape_zero_dim"]
    assert set(bindings(case, case.data[0][0])) == {"shape"}
    case = _cases()["add"]
    assert not bindings(case, case.data[0][0])


def test_comparison_sees_dtype_shape_and_values() -> None:
    case = _cases()["add"]
    want = case.data[0][1][0]
    assert not compare(want, want, 0, 0)
    assert "dtype" in compare(want.astype("float64"), want, 1, 1)
    assert "shape" in compare(want.reshape(-1), want, 1, 1)
    assert "differ" in compare(want + 1e-2, want, 1e-3, 1e-7)
    assert "differ" in compare(want > 0, want < 0, 1, 1)
