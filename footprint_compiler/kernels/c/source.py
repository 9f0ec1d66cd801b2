"""The C source of all C kernels of one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import jinja2

from footprint_compiler.kernels.c.kernel import CKernel

#: What a template includes, in order.
_PARTS = {
    "dsp_conv": ("dsp_expand.h", "dsp_columns.h"),
    "dsp_dense": ("dsp_expand.h",),
    "dsp_depthwise": ("dsp_expand.h",),
    "mve_conv": ("mve.h", "mve_columns.h"),
    "add": (),
    "lookup": (),
    "multiply": (),
    "quantize": ("bits.h",),
    "resize": (),
    "dequantize": ("bits.h",),
    "scalar_conv": ("scalar.h",),
    "scalar_depthwise": ("scalar.h",),
    "mve_depthwise": ("mve.h",),
    "float_conv": ("float.h",),
    "float_depthwise": ("float.h",),
}

#: Feature -> what goes behind these parts.
_UNITS = {
    "fpu": ("float_fpu.h", "float_fpu_rows.h"),
    "fma": ("float_fpu.h", "float_fpu_rows.h"),
    "mve-f": ("float_mve.h", "float_mve_rows.h"),
}

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("footprint_compiler.kernels.c", "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)


def render_source(kernels: Mapping[str, CKernel], small: bool = False) -> str:
    """C99 that defines every kernel under its symbol, and each shared function once.

    Args:
        kernels: symbol -> kernel.
        small: with loops in their shortest form.
    """
    templates = list(dict.fromkeys(kernel.template for kernel in kernels.values()))
    parts = list(dict.fromkeys(part for name in templates for part in _PARTS[name]))
    everything = frozenset(f for kernel in kernels.values() for f in kernel.features)
    everything |= {"small"} if small else set()
    if "mve" in everything and "mve.h" not in parts:
        parts.append("mve.h")
    parts += [part for feature, more in _UNITS.items() if feature in everything for part in more]
    text = [_render("common.h", everything, 0), *(_render(p, everything, 0) for p in parts)]
    for name in templates:
        own = [kernel for kernel in kernels.values() if kernel.template == name]
        features = frozenset(feature for kernel in own for feature in kernel.features)
        tall = max(kernel.layer.get("kernel_height", 1) for kernel in own)
        # Helpers are shared by all families and follow the switches of the whole model.
        text.append(_render(f"{name}.c", features | (everything & _SHARED), tall))
        if "parts" in features:
            text.append(_render("conv_parts.c", features, tall))
    text += [_wrapper(symbol, kernel) for symbol, kernel in kernels.items()]
    return "".join(text)


_SHARED = frozenset({"clamp", "shift", "uneven", "thumb1", "rv32", "small"})


def _render(name: str, features: frozenset[str], kernel_rows: int) -> str:
    template = _TEMPLATES.get_template(f"{name}.j2")
    return template.render(features=features, kernel_rows=kernel_rows)


def _wrapper(symbol: str, kernel: CKernel) -> str:
    """The function that the entry point calls: one layer's numbers for the shared function."""
    if kernel.function == "conv_parts":
        return _parts_wrapper(symbol, kernel)
    values = ", ".join(f".{name} = {value}" for name, value in kernel.layer.items())
    integer = kernel.element == "int8_t"
    parameters = [f"const {kernel.element} *x{i}" for i in range(len(kernel.inputs))]
    arguments = ["&layer", *(f"x{i}" for i in range(len(kernel.inputs)))]
    if kernel.template == "float_conv" and len(kernel.inputs) == 1:
        arguments.append("0")
    if kernel.constants:
        parameters.append(f"const {'int32_t' if integer else kernel.element} *w")
        arguments.append("w")
    parameters.append(f"{kernel.result or kernel.element} *y")
    arguments.append("y")
    if kernel.scratch_bytes:
        parameters.append("void *scratch")
    takes = integer and kernel.function not in _ELEMENTWISE
    if kernel.constants and (takes or kernel.scratch_bytes):
        arguments.append("scratch" if kernel.scratch_bytes else "0")
    body = ""
    if kernel.by_row:
        parameters.append("int32_t row")
        if kernel.function in _ELEMENTWISE:
            pointers = [*(f"x{i}" for i in range(len(kernel.inputs))), "y"]
            sizes = [kernel.layer["count"]] * len(kernel.inputs)
            sizes.append(kernel.layer["count"] * kernel.layer.get("channels", 1))
            body = "".join(
                f"    {pointer} += ring_row(row, {rows}) * {size};\n"
                for pointer, rows, size in zip(pointers, kernel.rows, sizes, strict=True)
                if rows
            )
        else:
            body = f"    y += {_row_at(kernel.layer, kernel.layer['out_rows'])};\n"
            for i, rows in enumerate(kernel.rows, 1):
                body += f"    x{i} += {_row_at(kernel.layer, rows)};\n"
        if kernel.function == "conv_points":
            arguments[1] = f"x0 + {_source_at(kernel.layer)}"
    arguments += _RANGES[kernel.function](kernel)
    struct = kernel.function.split("_")[0]
    return (
        f"\nvoid {symbol}({', '.join(parameters)});\n"
        f"void {symbol}({', '.join(parameters)})\n{{\n"
        f"    static const struct {struct} layer = {{{values}}};\n\n{body}"
        f"    {kernel.function}({', '.join(arguments)});\n}}\n"
    )


def _parts_wrapper(symbol: str, kernel: CKernel) -> str:
    """The same for a kernel that calls its function for one part of the output after the other."""
    layers = (kernel.layer, *kernel.more)
    values = ", ".join(
        "{" + ", ".join(f".{name} = {value}" for name, value in layer.items()) + "}"
        for layer in layers
    )
    row = ", int32_t row" if kernel.by_row else ""
    rows = "row, row + 1" if kernel.by_row else "0, layers[part].out_height"
    head = f"void {symbol}(const int8_t *x0, const int32_t *w, int8_t *y, void *scratch{row})"
    lines = [f"static const struct parts layers[] = {{{values}}};", ""]
    if kernel.by_row:
        lines.append(f"y += ring_row(row, {kernel.rows[0]}) * layers[0].row_step;")
    lines += [
        f"for (int32_t part = 0; part < {len(layers)}; part++) {{",
        f"    conv_parts(&layers[part], x0, w, y, scratch, {rows});",
        "}",
    ]
    body = "".join(f"    {line}\n" if line else "\n" for line in lines)
    return f"\n{head};\n{head}\n{{\n{body}}}\n"


_ELEMENTWISE = frozenset({"add", "dequantize", "lookup", "multiply", "quantize", "resize"})
"""Functions that take no scratch and compute a row as they compute a tensor."""


def _row_at(layer: Mapping[str, int], rows: int) -> str:
    """Where the output row lies in a ring of ``rows`` or the whole of a tensor of its shape."""
    row = f"ring_row(row, {rows})" if rows < layer["out_height"] else "row"
    return f"{row} * {layer['out_width'] * layer['out_channels']}"


def _source_at(layer: Mapping[str, int]) -> str:
    """Where the one row lies that a kernel of 1 x 1 reads."""
    row = f"row * {layer['stride_height']}"
    if layer["rows"] < layer["height"]:
        row = f"ring_row({row}, {layer['rows']})"
    return f"{row} * {layer['width'] * layer['channels']}"


def _rows(kernel: CKernel) -> list[str]:
    return ["row", "row + 1"] if kernel.by_row else ["0", str(kernel.layer["out_height"])]


def _pixels(kernel: CKernel) -> list[str]:
    return [str(kernel.layer["out_width"])]


def _nothing(_: CKernel) -> list[str]:
    return []


#: What follows the pointers in a call of a function.
_RANGES: dict[str, Callable[[CKernel], list[str]]] = {
    "conv_rows": _rows,
    "conv_points": _pixels,
    "depthwise_rows": _rows,
    "dense": _nothing,
    "dense_direct": _nothing,
    "add": _nothing,
    "dequantize": _nothing,
    "fconv_rows": _rows,
    "fconv_windows": _rows,
    "fdepthwise_rows": _rows,
    "lookup": _nothing,
    "multiply": _nothing,
    "quantize": _nothing,
    "resize": _nothing,
}
