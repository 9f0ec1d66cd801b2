"""A small quantized network of the usual kinds of layers, for tests that build it often."""

from __future__ import annotations

import onnx

from tests.e2e.qdq_layers import Net


def small_net() -> tuple[Net, onnx.ModelProto]:
    """Convolution, depthwise convolution, sum, pool, dense layer: int8 throughout."""
    net = Net(3)
    one = net.given((1, 3, 8, 8), "int8")
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    conv = net.node("Conv", one, net.weights((8, 3, 3, 3), 0, "int8"), **window)
    net.results[conv] = "int8"
    two = net.given((1, 8, 8, 8), "int8")
    depthwise = net.node("Conv", two, net.weights((8, 1, 3, 3), 0, "int8"), group=8, **window)
    net.results[depthwise] = "int8"
    net.results[net.node("Add", two, net.given((1, 8, 8, 8), "int8"))] = "int8"
    net.results[net.node("AveragePool", two, kernel_shape=[2, 2], strides=[2, 2])] = "int8"
    three = net.given((1, 40), "int8")
    net.results[net.node("Gemm", three, net.weights((10, 40), 0, "int8"), transB=1)] = "int8"
    return net, net.model()
