from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection

from footprint_compiler.codegen.external_stack import (
    LIBM_STACK_BYTES,
    external_stack_bytes,
)
from footprint_compiler.codegen.frame import analyse_frame
from footprint_compiler.codegen.machine_code import Function, read_functions
from footprint_compiler.codegen.stack import worst_case_stack
from footprint_compiler.errors import CodegenError

from .samples import zig_object

TARGETS = ["x86-64", "arm64", "armv7", "cortex-m0plus", "cortex-m4", "cortex-m55"]
TARGETS += ["esp32-c3", "esp32-p4"]
FLAGS = [("-O2",), ("-O0",), ("-Os",), ("-O2", "-fno-omit-frame-pointer")]
ALIGN = 64

# Prologues of all kinds: none, small, spills, floats, arguments on the stack, early return, jump
# table, by value, a frame beyond every immediate operand, a frame with an alignment of its own.
FRAMES = """
int ext(int *, int);
int leaf(int a) { return a + 1; }
int small(int a) { int x[4] = {a, a, a, a}; return ext(x, 4); }
int big(int a) { int x[4000]; x[0] = a; return ext(x, 4000); }
int huge(int a) { char x[200000]; x[0] = (char)a; return ext((int *)x, 200000); }
int aligned(int a) { int x[16] __attribute__((aligned(64))); x[0] = a; return ext(x, 16); }
int spill(int *p, int n)
{
    int s = 0;
    for (int i = 0; i < n; i++) s += ext(p, i) * ext(p + 1, i) - p[i] * s;
    return s + p[0] + p[1] * p[2];
}
double floats(double *p, int n)
{
    double a = p[0], b = p[1], c = p[2], d = p[3];
    for (int i = 0; i < n; i++) { a += ext((int *)p, i); b *= a; c -= b; d += c * b; }
    return a + b + c + d;
}
int many(int a, int b, int c, int d, int e, int f, int g, int h, int i, int j)
{
    int x[3] = {a, j, i};
    return ext(x, b + c + d + e + f + g + h);
}
int pass(int *p) { return many(p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9]) + 1; }
int early(int n, int *p)
{
    if (n < 3) return p[0];
    int x[100]; x[n] = 4; ext(x, n);
    return x[2];
}
int table(int n, int *p)
{
    switch (n) {
    case 0: return ext(p, 1) + 1;
    case 1: return ext(p, 7) * 3;
    case 2: return ext(p + 1, 2) - 2;
    case 3: return p[1];
    case 4: { int x[20]; x[0] = n; return ext(x, 2) * 3; }
    case 5: return p[2];
    case 6: return ext(p, 8) * 9;
    }
    return 3;
}
typedef struct { char b[300]; } Block;
int block(Block s);
int by_value(int a)
{
    Block s;
    for (int i = 0; i < 300; i++) s.b[i] = (char)(a + i);
    return block(s);
}
"""


def stack_sizes(data: bytes) -> dict[tuple[int, int], int]:
    """What LLVM says in .stack_sizes: (section, address) -> bytes of the frame."""
    elf = ELFFile(io.BytesIO(data))
    symbols = list(elf.get_section_by_name(".symtab").iter_symbols())
    found = {}
    for number, section in enumerate(elf.iter_sections()):
        if section.name != ".stack_sizes":
            continue
        content, width = section.data(), elf.elfclass // 8
        relocations = [
            table
            for table in elf.iter_sections()
            if isinstance(table, RelocationSection) and table["sh_info"] == number
        ]
        targets = {entry["r_offset"]: entry for entry in relocations[0].iter_relocations()}
        position = 0
        while position < len(content):
            entry = targets[position]
            symbol = symbols[entry["r_info_sym"]]
            addend = int.from_bytes(content[position : position + width], "little")
            addend = entry["r_addend"] if entry.is_RELA() else addend
            address = symbol["st_value"] + addend
            address &= ~1 if elf["e_machine"] == "EM_ARM" else -1
            position, size, shift = position + width, 0, 0
            while True:
                byte = content[position]
                size |= (byte & 127) << shift
                position, shift = position + 1, shift + 7
                if not byte & 128:
                    break
            found[symbol["st_shndx"], address] = size
    return found


def functions(data: bytes) -> dict[str, Function]:
    return {function.name: function for function in read_functions(data)}


@pytest.mark.parametrize("flags", FLAGS, ids=" ".join)
@pytest.mark.parametrize("target", TARGETS)
def test_frames_are_those_that_llvm_laid_out(target: str, flags: tuple[str, ...]) -> None:
    data = zig_object(FRAMES, target, "-fstack-size-section", *flags)
    sizes, checked = stack_sizes(data), 0
    for function in read_functions(data):
        size = sizes.get((function.section, function.start))
        if size is None:
            continue
        checked += 1
        # Alignment wastes at most 64 bytes, which LLVM does not count; a red zone neither.
        slack = ALIGN + 16 if function.name == "aligned" else 0
        slack += 128 if target == "x86-64" and function.name == "leaf" else 0
        depth = analyse_frame(function).depth
        assert size <= depth <= size + slack, (function.name, depth, size)
    assert checked >= 12


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
@pytest.mark.parametrize("flags", [("-O2",), ("-O3",), ("-O2", "-fstack-clash-protection")])
def test_frames_are_those_that_gcc_laid_out(tmp_path: Path, flags: tuple[str, ...]) -> None:
    (tmp_path / "frames.c").write_text(FRAMES)
    command = ["gcc", *flags, "-fstack-usage", "-fno-reorder-functions", "-c", "frames.c"]
    subprocess.run(command, cwd=tmp_path, check=True)
    usage = (tmp_path / "frames.su").read_text()
    sizes = {name: int(size) for name, size in re.findall(r":(\w+)\t(\d+)\t", usage)}
    frames = functions((tmp_path / "frames.o").read_bytes())
    if frames["leaf"].arch != "x86-64":
        pytest.skip("gcc compiles for another processor")
    for name, size in sizes.items():
        # gcc counts the return address, and rounds up to its own alignment of calls.
        depth = analyse_frame(frames[name]).depth + 8
        slack = ALIGN if name == "aligned" else 0
        assert size - 8 <= depth <= size + slack, (name, depth, size)


CHAIN = """
void *memcpy(void *, const void *, __SIZE_TYPE__); float expf(float); float tanf(float);
__attribute__((noinline)) static int inner(int *p, int n)
{
    volatile int x[100]; x[n] = p[n]; return x[n / 2];
}
__attribute__((noinline)) int middle(int *p, int n)
{
    volatile int x[50]; x[n] = inner(p, n); return x[n / 2] + inner(p, n + 1);
}
int root(int *p, int n) { return middle(p, n) + 1; }
void copy(int *p, int n) { volatile char x[40]; x[n] = 1; memcpy(p, p + n, n); p[1] = x[2]; }
float math(float x) { return expf(x) + 1; }
float reduce(float x) { return tanf(x) + 1; }
int tail(int *p, int n) { return middle(p, n); }
"""


@pytest.mark.parametrize("target", TARGETS)
def test_calls_add_up_along_the_deepest_path(target: str) -> None:
    data = zig_object(CHAIN, target, "-fno-builtin")
    depth = {name: analyse_frame(function).depth for name, function in functions(data).items()}
    pushed = 8 if target == "x86-64" else 0
    middle = depth["middle"] + depth["inner"] + 2 * pushed
    root = worst_case_stack([data], ["root"])
    assert root == middle + depth["root"] + pushed
    assert 600 <= root <= 800
    assert worst_case_stack([data], ["middle"]) == middle
    # A tail call releases the frame before it jumps.
    assert middle <= worst_case_stack([data], ["tail"]) <= middle + depth["tail"]
    memcpy = external_stack_bytes("memcpy", armv6m=target == "cortex-m0plus")
    copied = depth["copy"] + memcpy + 2 * pushed
    assert worst_case_stack([data], ["copy"]) == copied
    assert worst_case_stack([data], ["math"]) >= LIBM_STACK_BYTES
    assert worst_case_stack([data], ["reduce"]) >= external_stack_bytes("tanf")
    assert worst_case_stack([data], ["copy", "root"]) == max(root, copied)


@pytest.mark.parametrize("target", TARGETS)
def test_calls_reach_other_objects(target: str) -> None:
    caller = zig_object("int far(int); int root(int a) { return far(a) + 1; }", target)
    deep = "int far(int a) { volatile int x[500]; x[a] = a; return x[a / 2]; }"
    total = worst_case_stack([caller, zig_object(deep, target)], ["root"])
    assert 2000 <= total <= 2200
    assert worst_case_stack([caller], ["root"]) < total


@pytest.mark.parametrize(
    ("name", "general", "armv6m"),
    [
        ("memcpy", 56, 72),
        ("__aeabi_memcpy8", 56, 72),
        ("memset", 32, 48),
        ("__aeabi_memclr4", 32, 48),
        ("memmove", 640, 640),
        ("__aeabi_dmul", 72, 128),
        ("__aeabi_lmul", 32, 40),
        ("__aeabi_uidiv", 32, 40),
        ("__aeabi_ldivmod", 144, 160),
        ("__aeabi_fsub", 48, 80),
        ("__aeabi_i2f", 32, 80),
        ("__aeabi_fcmpun", 32, 40),
        ("__divti3", 384, 384),
        ("__divdi3", 192, 192),
        ("fabsf", 64, 64),
        ("floor", 256, 256),
        ("modf", 256, 256),
        ("nearbyintf", 64, 128),
        ("expf", 512, 512),
        ("erff", 640, 640),
        ("erf", 640, 640),
        ("sin", 1280, 1280),
        ("tgammaf", 1280, 1280),
    ],
)
def test_functions_from_elsewhere_count_by_the_table(name: str, general: int, armv6m: int) -> None:
    assert external_stack_bytes(name) == general
    assert external_stack_bytes(name, armv6m=True) == armv6m


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4"])
def test_compiler_helpers_are_counted(target: str) -> None:
    data = zig_object("long long k(long long a, long long b) { return a / b + 1; }", target)
    depth = analyse_frame(functions(data)["k"]).depth
    armv6m = target == "cortex-m0plus"
    expected = depth + external_stack_bytes("__aeabi_ldivmod", armv6m=armv6m)
    assert worst_case_stack([data], ["k"]) == expected


@pytest.mark.parametrize("target", TARGETS)
def test_a_jump_far_inside_a_function_is_no_call(target: str) -> None:
    # Thumb-1 jumps farther than 2 KiB with the instruction of a call.
    body = "".join(f"x = ext(p, x + {index}) * p[{index}];\n" for index in range(300))
    source = f"""
    int ext(int *, int);
    int k(int *p, int x)
    {{
        while (x > 3) {{ if (p[x] == 7) {{ x = ext(p, 1); continue; }} {body} }}
        return x;
    }}
    """
    data = zig_object(source, target, "-fstack-size-section")
    sizes = stack_sizes(data)
    function = functions(data)["k"]
    assert function.end - function.start > 2048
    assert analyse_frame(function).depth == sizes[function.section, function.start]
    pushed = 16 if target == "x86-64" else 0
    total = analyse_frame(function).depth + external_stack_bytes("ext") + pushed
    assert worst_case_stack([data], ["k"]) == total


EARLY_RETURN = """
__asm__(".thumb\\n.globl early\\n.type early, %function\\n"
        "early:\\n push {r4, lr}\\n sub sp, #40\\n cmp r0, #0\\n"
        " itt le\\n addle sp, #40\\n pople {r4, pc}\\n"
        " bl below\\n add sp, #40\\n pop {r4, pc}\\n.size early, . - early\\n"
        ".globl below\\n.type below, %function\\n"
        "below:\\n push {r4, r5, r6, lr}\\n pop {r4, r5, r6, pc}\\n.size below, . - below\\n");
"""


def test_what_only_an_early_return_takes_off_the_stack_still_counts() -> None:
    assert worst_case_stack([zig_object(EARLY_RETURN, "cortex-m4")], ["early"]) == 48 + 16


VECTOR_LOADS = """
__asm__(".thumb\\n.globl k\\n.type k, %function\\n"
        "k:\\n sub sp, #24\\n {}\\n add sp, #24\\n bx lr\\n.size k, . - k\\n");
"""


@pytest.mark.parametrize(
    "code",
    ["vldrh.s32 q2, [r5], #16", "vldrh.u32 q1, [r5, #-8]!", "vstrh.32 q2, [r5], #16"],
)
def test_vector_loads_that_widen_have_no_stack_pointer_to_move(code: str) -> None:
    """The field of the base register is short: ``r5`` has the bits that ``sp`` has elsewhere."""
    data = zig_object(VECTOR_LOADS.format(code), "cortex-m55")
    assert worst_case_stack([data], ["k"]) == 24


def test_an_unknown_instruction_that_moves_the_stack_pointer_is_refused() -> None:
    data = zig_object(VECTOR_LOADS.format("vstr p0, [sp, #-8]!"), "cortex-m55")
    with pytest.raises(CodegenError, match="cannot decode an instruction of k"):
        worst_case_stack([data], ["k"])


@pytest.mark.parametrize("target", TARGETS)
def test_recursion_is_refused_with_its_cycle(target: str) -> None:
    source = """
    int b(int n); __attribute__((noinline)) int a(int n) { return n < 2 ? 1 : n * b(n - 1); }
    __attribute__((noinline)) int b(int n) { return n < 3 ? 2 : n + a(n - 2); }
    int root(int n) { return a(n) + 1; }
    """
    with pytest.raises(CodegenError, match=r"recursion has no bounded stack: [ab]"):
        worst_case_stack([zig_object(source, target)], ["root"])


@pytest.mark.parametrize("target", TARGETS)
def test_a_frame_that_depends_on_data_is_refused(target: str) -> None:
    source = "int ext(int *, int); int k(int n) { int x[n]; x[0] = n; return ext(x, n); }"
    with pytest.raises(CodegenError, match="the stack of k has no fixed size"):
        worst_case_stack([zig_object(source, target)], ["k"])


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("result", ["f(n) + 1", "f(n)"], ids=["call", "tail"])
def test_a_call_through_a_pointer_is_refused(target: str, result: str) -> None:
    source = f"int k(int (*f)(int), int n) {{ return {result}; }}"
    with pytest.raises(CodegenError, match="k calls through a pointer"):
        worst_case_stack([zig_object(source, target)], ["k"])


@pytest.mark.parametrize("target", TARGETS)
def test_only_functions_named_for_it_call_what_the_user_gives(target: str) -> None:
    # The stack of the function itself counts, and what it calls by name; that of f does not.
    source = """
    int ext(int *, int);
    __attribute__((noinline)) int ask(int (*f)(int *), int n)
    {
        volatile int x[40];
        x[0] = n;
        return f((int *)x) + x[1];
    }
    __attribute__((noinline)) int named(int (*f)(int *), int n) { return ask(f, n) + 1; }
    int other(int (*f)(int *), int n) { return f(&n) + 1; }
    """
    data = zig_object(source, target)
    pushed = 8 if target == "x86-64" else 0
    ask = analyse_frame(functions(data)["ask"]).depth + pushed
    named = analyse_frame(functions(data)["named"]).depth + pushed
    assert ask >= 160
    # x86-64: the return address that the pointer's function finds on the stack is ask's.
    assert worst_case_stack([data], ["ask"], ["ask"]) == ask + pushed
    assert worst_case_stack([data], ["named"], ["ask"]) == named + ask + pushed
    for root, callbacks in (("ask", ()), ("named", ("named",)), ("other", ("ask",))):
        with pytest.raises(CodegenError, match=r"(ask|other) calls through a pointer"):
            worst_case_stack([data], [root], callbacks)
    with pytest.raises(CodegenError, match="no object defines f"):
        worst_case_stack([data], ["ask"], ["f"])


def test_a_missing_root_is_an_error() -> None:
    with pytest.raises(CodegenError, match="no object defines k"):
        worst_case_stack([zig_object("int j;", "x86-64")], ["k"])


def test_another_processor_is_refused(tmp_path: Path) -> None:
    data = bytearray(zig_object("int k(void) { return 1; }", "x86-64"))
    data[18:20] = (243).to_bytes(2, "little")  # EM_RISCV
    with pytest.raises(CodegenError, match="EM_RISCV"):
        worst_case_stack([bytes(data)], ["k"])
