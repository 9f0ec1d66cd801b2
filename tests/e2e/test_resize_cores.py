"""Linear resizing of codes on each kind of microcontroller: to the bit what the host computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import footprint_compiler as fpc
from footprint_compiler import runners
from tests.frontend.harness import model

#: Name -> image, enlarged by, scale of the result relative to the input's, zero points.
CASES = {
    "doubled": ((1, 3, 5, 4), (2.0, 2.0), 1.0, (3, -7)),
    "one channel": ((1, 1, 4, 3), (2.0, 4.0), 0.5, (-128, 127)),
    "many channels": ((1, 19, 3, 3), (4.0, 2.0), 2.0, (127, -128)),
    "wide": ((1, 4, 1, 7), (2.0, 2.0), 0.03, (0, 0)),
}


def _models() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """All cases as one model, behind a table that makes the layout channels last."""
    lines, given, made, constants, inputs = [], [], [], {}, {}
    for at, (shape, factors, ratio, zeros) in enumerate(CASES.values()):
        out = [size * int(factor) for size, factor in zip(shape[2:], factors, strict=True)]
        sizes = ",".join(map(str, shape))
        given.append(f"int8[{sizes}] x{at}")
        made.append(f"int8[1,{shape[1]},{out[0]},{out[1]}] y{at}")
        lines += [
            f"a{at} = DequantizeLinear(x{at}, s{at}, z{at})",
            f'b{at} = Resize <mode = "linear"> (a{at}, , f{at})',
            f"y{at} = QuantizeLinear(b{at}, t{at}, u{at})",
        ]
        constants |= {
            f"s{at}": np.array(0.1, "float32"),
            f"t{at}": np.array(0.1 * ratio, "float32"),
            f"z{at}": np.array(zeros[0], "int8"),
            f"u{at}": np.array(zeros[1], "int8"),
            f"f{at}": np.array([1, 1, *factors], "float32"),
        }
        values = np.random.default_rng(at).integers(-128, 128, shape)
        values.flat[::5], values.flat[1::7] = -128, 127
        inputs[f"x{at}"] = values.astype(np.int8)
    text = f"g ({', '.join(given)}) => ({', '.join(made)}) {{ {chr(10).join(lines)} }}"
    return model(text, constants), inputs


@pytest.mark.parametrize(
    "core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55", "esp32-c3"]
)
def test_same_codes_as_on_the_host(
    needs_emulator: Callable[[str], None], tmp_path: Path, core: str
) -> None:
    needs_emulator(core)
    proto, inputs = _models()
    onnx.save(proto, tmp_path / "resize.onnx")
    options = fpc.BuildOptions(name="resize", solve_nodes=0)
    expected = runners.run(
        fpc.build(tmp_path / "resize.onnx", "x86-64", options, tmp_path / "host"), inputs
    ).outputs
    built = fpc.build(tmp_path / "resize.onnx", core, options, tmp_path / "board")
    families = [layer["family"] for layer in built.manifest["layers"]]
    assert families.count("resize") == (0 if core == "cortex-m0plus" else len(CASES))
    found = runners.run(built, inputs).outputs
    for name, want in expected.items():
        np.testing.assert_array_equal(found[name], want, name)
