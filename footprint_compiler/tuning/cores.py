"""The figures of the cores that ``issue`` models.

Ports and latencies are estimates in the manner of the public optimization guides of the cores
(Cortex-A55, A72 and A76 from Arm; Zen 4 from AMD), not a transcript of their tables.
"""

from __future__ import annotations

from footprint_compiler.tuning.issue import Core, Use

A53 = Core(
    "cortex-a53 model",
    2,
    True,
    {"int": 2, "mul": 1, "mem": 1, "vec": 1, "branch": 1},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 4),
        "load": Use("mem", 1, 3),
        "vload": Use("mem", 2, 4),
        "store": Use("mem", 1, 1),
        "vstore": Use("mem", 2, 1),
        "branch": Use("branch", 1, 1),
        "fma": Use("vec", 2, 4),
        "vmul": Use("vec", 2, 4),
        "vmac": Use("vec", 2, 4),
        "vint": Use("vec", 1, 3),
        "vperm": Use("vec", 2, 3),
        "div": Use("vec", 12, 18),
    },
)
A55 = Core(
    "cortex-a55 model",
    2,
    True,
    {"int": 2, "mul": 1, "load": 1, "store": 1, "vec": 1, "branch": 1},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 3),
        "load": Use("load", 1, 3),
        "vload": Use("load", 2, 4),
        "store": Use("store", 1, 1),
        "vstore": Use("store", 1, 1),
        "branch": Use("branch", 1, 1),
        "fma": Use("vec", 1, 4),
        "vmul": Use("vec", 1, 4),
        "vmac": Use("vec", 1, 4),
        "vint": Use("vec", 1, 2),
        "vperm": Use("vec", 1, 2),
        "div": Use("vec", 10, 22),
    },
)
A72 = Core(
    "cortex-a72 model",
    3,
    False,
    {"int": 2, "mul": 1, "load": 1, "store": 1, "vec": 2, "vmul": 1, "branch": 1},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 3),
        "load": Use("load", 1, 4),
        "vload": Use("load", 1, 5),
        "store": Use("store", 1, 1),
        "vstore": Use("store", 1, 1),
        "branch": Use("branch", 1, 1),
        "fma": Use("vec", 1, 3),
        "vmul": Use("vmul", 1, 4),
        "vmac": Use("vmul", 1, 2),
        "vint": Use("vec", 1, 3),
        "vperm": Use("vec", 1, 3),
        "div": Use("vec", 12, 18),
    },
    window=64,
)
A76 = Core(
    "cortex-a76 model",
    4,
    False,
    {"int": 3, "mul": 1, "load": 2, "store": 2, "vec": 2, "vmul": 1, "branch": 1},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 2),
        "load": Use("load", 1, 4),
        "vload": Use("load", 1, 5),
        "store": Use("store", 1, 1),
        "vstore": Use("store", 1, 1),
        "branch": Use("branch", 1, 1),
        "fma": Use("vec", 1, 2),
        "dot": Use("vec", 1, 2),
        "vmul": Use("vmul", 1, 4),
        "vmac": Use("vmul", 1, 2),
        "vint": Use("vec", 1, 2),
        "vperm": Use("vec", 1, 2),
        "div": Use("vec", 8, 14),
    },
    window=96,
)
ZEN4 = Core(
    "zen 4 model",
    6,
    False,
    {"int": 4, "mul": 1, "load": 2, "store": 1, "fma": 2, "vadd": 2, "vec": 4, "perm": 2},
    {
        "int": Use("int", 1, 1),
        "mul": Use("mul", 1, 3),
        "load": Use("load", 1, 4),
        "vload": Use("load", 1, 6),
        "store": Use("store", 1, 1),
        "vstore": Use("store", 1, 1),
        "branch": Use("int", 1, 1),
        "fma": Use("fma", 1, 4),
        "vfadd": Use("vadd", 1, 3),
        "dot": Use("fma", 1, 4),
        "vmul": Use("fma", 1, 3),
        "vmac": Use("fma", 1, 3),
        "vint": Use("vec", 1, 1),
        "vperm": Use("perm", 1, 2),
        "div": Use("fma", 5, 11),
    },
    window=192,
)
CORES = {
    "cortex-a53": A53,
    "cortex-a55": A55,
    "cortex-a72": A72,
    "cortex-a76": A76,
    "arm64": A72,
}
