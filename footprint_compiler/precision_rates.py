"""Rates of ``precision_cost``, as ``benchmarks/precision_rates.py`` fits them to single layers.

Executed instructions on Arm and Cortex-M; nanoseconds of one core of an AMD EPYC (Zen 4) on x86,
where only their ratios mean something.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rate:
    """Cost of a product and of an output."""

    per_mac: float
    per_output: float


@dataclass(frozen=True)
class Rates:
    """One form of arithmetic on one unit.

    Attributes:
        conv, dense, depthwise: per product and output.
        pool: per input element.
        elementwise: per operand and output element.
        table: a function of one element.
        narrow: factor of a convolution of few input channels.
        winograd: factor of one by Winograd's transform: float, to its own estimate; int8, to the
            direct one.
        encode, decode: from and to float, per element.
        wide: factor of int64 sums.
    """

    conv: Rate
    dense: Rate
    depthwise: Rate
    pool: float
    elementwise: float
    table: float
    narrow: float = 1.0
    winograd: float = 1.0
    encode: float = 0.0
    decode: float = 0.0
    wide: float = 1.0


# fmt: off
INTEGER: dict[str, Rates] = {
    "dpbusd-256": Rates(Rate(0.00483, 0.13), Rate(0.0108, 0.0), Rate(0.014, 0.172),
                        0.0237, 0.0232, 0.277, 1.79, 1.0, 0.103, 0.0472, 6.78),
    "dpbusd-512": Rates(Rate(0.00487, 0.111), Rate(0.0109, 0.0), Rate(0.00718, 0.171),
                        0.0213, 0.0244, 0.28, 1.92, 1.0, 0.104, 0.0462, 6.32),
    "madd-128": Rates(Rate(0.0292, 0.778), Rate(0.0482, 1.16), Rate(0.0402, 0.967),
                      0.0943, 0.134, 0.284, 1.1, 0.495, 1.5, 0.134, 16.0),
    "madd-256": Rates(Rate(0.0126, 0.106), Rate(0.0185, 0.0), Rate(0.0173, 0.132),
                      0.026, 0.0271, 0.279, 1.53, 0.469, 0.116, 0.0471, 3.96),
    "madd-512": Rates(Rate(0.0125, 0.113), Rate(0.0144, 0.248), Rate(0.00965, 0.192),
                      0.0188, 0.025, 0.279, 1.32, 0.459, 0.101, 0.0437, 4.71),
    "smull": Rates(Rate(0.241, 2.76), Rate(0.35, 5.27), Rate(0.317, 1.04),
                   0.555, 0.542, 4.23, 1.36, 0.657, 1.88, 2.0, 7.5),
    "sdot": Rates(Rate(0.0841, 1.69), Rate(0.113, 1.23), Rate(0.293, 1.21),
                  0.555, 0.542, 4.23, 1.44, 1.0, 1.88, 1.5, 23.2),
    "smmla": Rates(Rate(0.0553, 1.59), Rate(0.113, 1.23), Rate(0.293, 1.21),
                   0.556, 0.542, 4.23, 1.73, 1.0, 1.88, 1.5, 23.2),
    "vmull": Rates(Rate(0.478, 2.77), Rate(0.448, 5.48), Rate(0.92, 0.0),
                   0.578, 0.688, 4.27, 1.51, 0.5, 23.2, 3.25, 27.3),
    "thumb1": Rates(Rate(3.53, 78.4), Rate(3.58, 75.3), Rate(14.8, 0.0),
                    5.4, 9.26, 3.38, 1.19, 1.0, 694.0, 153.0, 11.3),
    "thumb2": Rates(Rate(1.84, 19.9), Rate(2.46, 17.2), Rate(8.85, 0.0),
                    3.72, 6.67, 3.19, 1.4, 1.0, 362.0, 73.0, 1.12),
    "dsp": Rates(Rate(0.943, 16.2), Rate(1.29, 8.64), Rate(1.79, 16.6),
                 3.82, 6.67, 3.19, 1.74, 1.0, 35.4, 5.2, 4.55),
    "mve": Rates(Rate(0.132, 5.25), Rate(0.163, 5.59), Rate(0.869, 9.06),
                 0.942, 1.42, 3.13, 2.08, 1.0, 3.75, 1.25, 26.8),
    "rv32": Rates(Rate(2.64, 23.8), Rate(3.61, 24.7), Rate(8.57, 0.0),
                  2.47, 5.69, 5.25, 1.25, 1.0, 42.4, 123.0, 2.49),
}
FLOAT: dict[str, Rates] = {
    "x86-128": Rates(Rate(0.0541, 0.0228), Rate(0.0575, 0.861), Rate(0.0348, 0.111),
                     0.0571, 0.0322, 1.35, 0.951, 0.704),
    "x86-256": Rates(Rate(0.0161, 0.0258), Rate(0.0439, 0.0), Rate(0.0141, 0.0324),
                     0.0413, 0.0267, 1.33, 0.996, 1.0),
    "x86-512": Rates(Rate(0.0172, 0.0135), Rate(0.0466, 0.277), Rate(0.0103, 0.0606),
                     0.0298, 0.028, 1.23, 1.01, 0.86),
    "neon": Rates(Rate(0.28, 1.43), Rate(0.443, 0.0), Rate(0.203, 2.23),
                  0.678, 0.583, 9.13, 1.08, 0.999),
    "neon-v7": Rates(Rate(0.775, 2.76), Rate(1.1, 0.0), Rate(0.808, 2.96),
                     0.812, 0.833, 17.0, 1.37, 0.793),
    "soft-thumb1": Rates(Rate(188.0, 297.0), Rate(209.0, 103.0), Rate(136.0, 451.0),
                         111.0, 36.9, 3460.0, 0.995, 1.0),
    "soft-thumb2": Rates(Rate(117.0, 176.0), Rate(130.0, 0.0), Rate(84.5, 283.0),
                         78.5, 26.5, 2070.0, 0.999, 1.0),
    "fpu": Rates(Rate(2.02, 8.72), Rate(2.35, 34.0), Rate(1.77, 13.3),
                 3.64, 1.48, 68.8, 1.13, 1.0),
    "mve": Rates(Rate(0.473, 4.14), Rate(0.728, 0.0), Rate(0.77, 2.22),
                 0.877, 0.417, 15.5, 1.46, 1.0),
    "soft-rv32": Rates(Rate(132.0, 245.0), Rate(146.0, 247.0), Rate(95.6, 338.0),
                       87.9, 32.1, 1830.0, 0.998, 1.0),
}
# fmt: on
TABLES = INTEGER, FLOAT
