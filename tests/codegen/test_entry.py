from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from footprint_compiler.artifact import Artifact
from footprint_compiler.codegen.entry import ERRORS, Interface, c_comment, c_string
from footprint_compiler.codegen.footprint import Footprint
from footprint_compiler.codegen.pages import pack_pages
from footprint_compiler.codegen.pool_use import PoolUse
from footprint_compiler.codegen.weights import pack_weights
from footprint_compiler.errors import CodegenError
from footprint_compiler.program import KernelCall, Program
from footprint_compiler.tensor import TensorSpec

from .samples import KERNELS, emit, sample_plan, sample_program

FOOTPRINT = Footprint(
    *(1400, 512, 768, 488, 24),
    constants_bytes=71,
    pools=(PoolUse("ddr", "ram", 1 << 20, {"arena_bytes": 768, "weights_bytes": 512}),),
)
STRICT = ("-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wsign-conversion")


def interface(program: Program | None = None, *, extern: bool = False) -> Interface:
    program = program or sample_program()
    digest = hashlib.sha256(b"sample").hexdigest()
    weights = pack_weights(program, 64)
    return Interface(program, sample_plan(program), weights, extern, "x86-64", digest)


def paged_interface() -> Interface:
    program = sample_program()
    pages = pack_pages(program, 64)
    digest = hashlib.sha256(b"sample").hexdigest()
    return Interface(
        program, sample_plan(program), pages.weights, False, "x86-64", digest, pages=pages
    )


def awkward_program() -> Program:
    """Names that would end a comment or a literal, a quantized output, a scalar, no weights."""
    x = TensorSpec('x"*/ ??/\\\n"é', (2, 3), "int8", 0.1, -3)
    y = TensorSpec("//y/*", (), "int8", 1 / 3, 5)
    call = KernelCall("net_k", (x.name,), (y.name,), layers=("*/ /* ??/\\",))
    tensors = {x.name: x, y.name: y}
    return Program("net", (x,), (y,), tensors, {}, (), (call,))


@pytest.mark.parametrize("extern", [False, True])
def test_generated_c_is_as_agreed(golden: Callable[[str, str], None], extern: bool) -> None:
    suffix = "_extern" if extern else ""
    golden(f"codegen/header{suffix}.h", interface(extern=extern).render_header(FOOTPRINT))
    golden(f"codegen/entry{suffix}.c", interface(extern=extern).render_entry())


def test_generated_c_of_pages_is_as_agreed(golden: Callable[[str, str], None]) -> None:
    golden("codegen/header_paged.h", paged_interface().render_header(FOOTPRINT))
    golden("codegen/entry_paged.c", paged_interface().render_entry())
    golden("codegen/pager.c", paged_interface().render_pager())


def compile_strictly(folder: Path, source: str, *flags: str) -> None:
    command = [sys.executable, "-m", "ziglang", "cc", *flags, *STRICT, "-c", source, "-o", "x.o"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("extern", [False, True])
@pytest.mark.parametrize("program", [sample_program(), awkward_program()], ids=["sample", "odd"])
def test_it_compiles_without_a_warning_in_c_and_cpp(
    tmp_path: Path, program: Program, extern: bool
) -> None:
    rendered = interface(program, extern=extern)
    (tmp_path / "net.h").write_text(rendered.render_header(FOOTPRINT), encoding="utf-8")
    (tmp_path / "net.c").write_text(rendered.render_entry(), encoding="utf-8")
    user = '#include "net.h"\n#include "net.h"\nint use(void);\nint use(void)\n{\n'
    user += "    static const int shape[] = NET_INPUT_0_SHAPE;\n"
    user += "    return shape[0] + (int)sizeof(NET_INPUT_0_NAME) + NET_OUTPUT_0_RANK;\n}\n"
    (tmp_path / "user.c").write_text(user)
    (tmp_path / "user.cpp").write_text(user)
    compile_strictly(tmp_path, "net.c", "-std=c99", "-Wmissing-prototypes")
    compile_strictly(tmp_path, "user.c", "-std=c99")
    compile_strictly(tmp_path, "user.cpp", "-std=c++11")


def test_pages_compile_without_a_warning(tmp_path: Path) -> None:
    rendered = paged_interface()
    (tmp_path / "net.h").write_text(rendered.render_header(FOOTPRINT), encoding="utf-8")
    (tmp_path / "net.c").write_text(rendered.render_entry(), encoding="utf-8")
    (tmp_path / "pager.c").write_text(rendered.render_pager(), encoding="utf-8")
    (tmp_path / "user.cpp").write_text(
        '#include "net.h"\nstatic const net_pager pager = {};\n'
        "int use(void);\nint use(void) { return pager.load == NULL; }\n"
    )
    compile_strictly(tmp_path, "net.c", "-std=c99")
    compile_strictly(tmp_path, "pager.c", "-std=c99", "-Wmissing-prototypes")
    compile_strictly(tmp_path, "user.cpp", "-std=c++11")


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_gcc_compiles_it_without_a_warning(tmp_path: Path) -> None:
    rendered = interface(awkward_program())
    (tmp_path / "net.h").write_text(rendered.render_header(FOOTPRINT), encoding="utf-8")
    (tmp_path / "net.c").write_text(rendered.render_entry(), encoding="utf-8")
    command = ["gcc", "-std=c99", *STRICT, "-Wmissing-prototypes", "-c", "net.c"]
    subprocess.run(command, cwd=tmp_path, check=True)


USER = r"""
#include <stdio.h>
#include <string.h>
#include "net.h"

static unsigned char arena[NET_ARENA_BYTES + 1] __attribute__((aligned(NET_ARENA_ALIGN)));

CHECK(NET_ARENA_BYTES % NET_ARENA_ALIGN == 0, "");
CHECK(NET_RAM_BYTES == NET_ARENA_BYTES + NET_STACK_BYTES + sizeof(net_ctx), "");
CHECK(NET_CONTEXT_BYTES == sizeof(net_ctx), "");
CHECK(NET_FLASH_BYTES == NET_CODE_BYTES + NET_CONSTANTS_BYTES + NET_WEIGHTS_BYTES, "");
CHECK(NET_INPUT_0_OFFSET + NET_INPUT_0_BYTES <= NET_ARENA_BYTES, "");
CHECK(NET_NUM_INPUTS == 1 && NET_NUM_OUTPUTS == 2, "");

static int failed;
#define EXPECT(what) do { if (!(what)) { printf("line %d\n", __LINE__); failed = 1; } } while (0)

int main(void)
{
    net_ctx ctx;
    int i;
    memset(&ctx, 0x5a, sizeof ctx);
    EXPECT(net_invoke(&ctx) == NET_ERROR_CONTEXT);
    EXPECT(net_invoke(NULL) == NET_ERROR_CONTEXT);
    EXPECT(net_input(&ctx, 0) == NULL);
    EXPECT(net_init(NULL, arena, sizeof arena) == NET_ERROR_NULL);
    EXPECT(net_init(&ctx, NULL, sizeof arena) == NET_ERROR_NULL);
    EXPECT(net_init(&ctx, arena, NET_ARENA_BYTES - 1) == NET_ERROR_ARENA_BYTES);
    EXPECT(net_init(&ctx, arena + 1, NET_ARENA_BYTES) == NET_ERROR_ARENA_ALIGN);
    EXPECT(net_invoke(&ctx) == NET_ERROR_CONTEXT);
    EXPECT(net_init(&ctx, arena, NET_ARENA_BYTES) == NET_OK);
    EXPECT(net_input(&ctx, -1) == NULL && net_input(&ctx, 1) == NULL);
    EXPECT(net_output(&ctx, 2) == NULL && net_output(NULL, 0) == NULL);
    EXPECT(net_input(&ctx, 0) == arena + NET_INPUT_0_OFFSET);
    EXPECT(net_output(&ctx, 1) == arena + NET_OUTPUT_1_OFFSET);
    for (i = -2; i < 9; i++) {
        EXPECT(strlen(net_error(i)) > 4);
    }
    EXPECT(strcmp(net_error(NET_OK), "no error") == 0);
    EXPECT(strcmp(net_error(-1), net_error(1000)) == 0);
    for (i = 0; i < 64; i++) {
        ((float *)net_input(&ctx, 0))[i] = (float)i / 64.0f;
    }
    EXPECT(net_invoke(&ctx) == NET_OK);
    printf("%.6f\n", (double)*(const float *)net_output(&ctx, 1));
    return failed;
}
"""


@pytest.mark.parametrize(
    ("source", "standard", "check"),
    [("user.c", "-std=c11", "_Static_assert"), ("user.cpp", "-std=c++11", "static_assert")],
)
def test_a_program_links_the_static_library_and_calls_everything(
    artifact: Artifact, tmp_path: Path, source: str, standard: str, check: str
) -> None:
    (tmp_path / source).write_text(USER.replace("CHECK", check))
    library = artifact.path / artifact.manifest["files"]["static_library"]
    command = [sys.executable, "-m", "ziglang", "cc", standard, f"-I{artifact.path}", source]
    subprocess.run([*command, str(library), "-lm", "-o", "user"], cwd=tmp_path, check=True)
    result = subprocess.run(["./user"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert float(result.stdout) == pytest.approx(1.0, abs=1.0)


BOTH = r"""
#include "net.h"
#include "second.h"
static unsigned char one[NET_ARENA_BYTES] __attribute__((aligned(NET_ARENA_ALIGN)));
static unsigned char two[SECOND_ARENA_BYTES] __attribute__((aligned(SECOND_ARENA_ALIGN)));
int main(void)
{
    net_ctx first;
    second_ctx other;
    if (net_init(&first, one, sizeof one) || second_init(&other, two, sizeof two)) return 1;
    if (net_invoke(&first) || second_invoke(&other)) return 2;
    return net_invoke((net_ctx *)(void *)&other) != NET_ERROR_CONTEXT;
}
"""


def test_two_models_live_in_one_program(artifact: Artifact, tmp_path: Path) -> None:
    program = sample_program("second")
    calls = tuple(
        replace(call, kernel=call.kernel.replace("net_", "second_")) for call in program.calls
    )
    second = emit(
        tmp_path / "second",
        program=replace(program, calls=calls),
        kernels=KERNELS.replace("net_", "second_"),
    )
    (tmp_path / "both.c").write_text(BOTH)
    command = [sys.executable, "-m", "ziglang", "cc", f"-I{artifact.path}", f"-I{second.path}"]
    libraries = [str(artifact.path / "libnet.a"), str(second.path / "libsecond.a")]
    command += ["both.c", *libraries, "-lm", "-o", "both"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert subprocess.run(["./both"], cwd=tmp_path, check=False).returncode == 0


def test_the_entry_point_uses_nothing_of_the_footprint_but_the_size_of_the_weights() -> None:
    # It is compiled before the rest is known.
    used = set(re.findall(r"NET_\w+", interface(extern=True).render_entry()))
    known = {f"NET_{macro}" for macro, _ in ERRORS}
    known |= {"NET_ARENA_BYTES", "NET_ARENA_ALIGN", "NET_WEIGHTS_ALIGN"}
    assert used - known == {"NET_WEIGHTS_BYTES"}


def test_contexts_of_other_builds_are_told_apart() -> None:
    one, other = interface(), replace(interface(), model_sha256="0" * 64)
    magic = [re.findall(r"#define MAGIC (\w+)", value.render_entry()) for value in (one, other)]
    assert magic[0] != magic[1]


def test_a_tensor_without_a_place_is_an_error() -> None:
    rendered = interface()
    plan = replace(rendered.plan, placements={})
    with pytest.raises(CodegenError, match="no place for 'x'"):
        replace(rendered, plan=plan).render_entry()


def test_one_kernel_with_two_signatures_is_an_error() -> None:
    program = sample_program()
    calls = (replace(program.calls[0], inputs=("x", "weight")), *program.calls[1:])
    with pytest.raises(CodegenError, match="net_affine disagree"):
        interface(replace(program, calls=calls)).render_entry()


@pytest.mark.parametrize("text", ["plain", 'q"uote', "back\\slash", "tri??/graph", "é\n", "\x011"])
def test_string_literals_mean_their_text(text: str) -> None:
    literal = c_string(text)
    assert "??" not in literal
    # An octal escape of three digits never takes a digit that follows.
    decoded = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), literal[1:-1])
    assert decoded.encode("latin-1").decode() == text


def test_comments_are_safe_and_short() -> None:
    assert c_comment("conv/1 a*/b", 72) == "conv/1 a_/b"
    for evil in ("*/", "/*", "//", "??/", "\\\n", "/" * 9, "é"):
        safe = c_comment(f"a{evil}b", 72)
        assert not re.search(r"\*|//|\?\?|\\|\n", safe)
    assert len(c_comment("x" * 200, 72)) == 72
