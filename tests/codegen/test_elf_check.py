from __future__ import annotations

import shutil

import pytest

from footprint_compiler.codegen.elf_check import check_undefined
from footprint_compiler.errors import CodegenError

from .samples import gcc_object, zig_object

ALLOWED = """
float expf(float); float roundf(float); double tanh(double);
void *memcpy(void *, const void *, int);
void net_k(float *x, double *y)
{
    memcpy(y, x, (int)*x); *x = expf(*x) + roundf(*x); *y = tanh(*y);
}
"""


def test_memory_and_math_functions_are_allowed() -> None:
    externals = check_undefined([zig_object(ALLOWED, "x86-64", "-fno-builtin")])
    assert externals.memory == ("memcpy",)
    assert externals.libm == ("expf", "roundf", "tanh")
    assert externals.helpers == ()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_what_the_linker_defines_is_allowed() -> None:
    source = """
    void *memcpy(void *, const void *, unsigned long);
    void net_k(void *a, void *b, unsigned long n) { memcpy(a, b, n); }
    """
    content = gcc_object(source, "-fno-builtin")
    assert check_undefined([content]).memory == ("memcpy",)


def test_compiler_helpers_are_allowed() -> None:
    source = """
    long long k(long long a, long long b) { return a / b; }
    double d(double a) { return a * a; }
    """
    externals = check_undefined([zig_object(source, "cortex-m4")])
    assert externals.helpers == ("__aeabi_dmul", "__aeabi_ldivmod")


@pytest.mark.parametrize(
    "name",
    [
        "TVMBackendAllocWorkspace",
        "__tvm_module_ctx",
        "tvm_alloc",
        "malloc",
        "printf",
        "__aeabi_atexit",
    ],
)
def test_any_other_symbol_is_refused_by_name(name: str) -> None:
    source = f"void {name}(void); void net_k(void) {{ {name}(); }}"
    with pytest.raises(CodegenError, match=name):
        check_undefined([zig_object(source, "x86-64", "-fno-builtin")])


def test_all_refused_symbols_are_named() -> None:
    source = "void b(void); void a(void); void net_k(void) { b(); a(); }"
    with pytest.raises(CodegenError, match="a, b"):
        check_undefined([zig_object(source, "x86-64")])


def test_symbols_of_the_other_objects_and_of_the_artifact_are_defined() -> None:
    caller = "void b(void); extern const char w[]; char k(void) { b(); return w[3]; }"
    objects = [zig_object(caller, "x86-64"), zig_object("void b(void) {}", "x86-64")]
    assert check_undefined(objects, own=["w"]).libm == ()
    with pytest.raises(CodegenError, match=r"need: w$"):
        check_undefined(objects)


def test_float_helpers_of_libgcc_are_refused_on_arm_only() -> None:
    # On Arm with an FPU, libgcc takes their arguments in core registers, compiler-rt in others.
    source = "double __adddf3(double, double); double k(double a) { return __adddf3(a, a); }"
    assert check_undefined([zig_object(source, "x86-64")]).helpers == ("__adddf3",)
    with pytest.raises(CodegenError, match="__adddf3"):
        check_undefined([zig_object(source, "cortex-m4")])
