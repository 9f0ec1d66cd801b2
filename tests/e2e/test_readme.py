"""Every command of README.md runs and prints what stands there, apart from the numbers.

``pytest --update-golden`` writes the outputs of this run into README.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from footprint_compiler.targets import list_targets

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"```console\n\$ fpc ([^\n]+)\n(.*?)```\n", re.DOTALL)
MAP_LINE = re.compile(r"^ *[a-zA-Z0-9] .* B at .*$|^ *\d+  [a-zA-Z0-9.]{40,}$")


def skeleton(text: str) -> list[str]:
    """What must not change: the words. Numbers, widths and the arena map may."""
    lines = [line for line in text.splitlines() if not MAP_LINE.match(line)]
    words = (re.sub(r"[\d.,+-]+(e-?\d+)?", "0", line) for line in lines)
    squeezed = (" ".join(re.sub("─+", "─", line).split()) for line in words)
    return [re.sub("KiB|MiB", "B", line) for line in squeezed if line]


def test_commands_print_what_the_readme_shows(fpc, request, needs_emulator, tmp_path, monkeypatch):
    needs_emulator("cortex-m4")
    text = README.read_text(encoding="utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    update = request.config.getoption("--update-golden")
    commands = 0
    for block in list(BLOCK.finditer(text)):
        command, shown = block.groups()
        result = fpc(*command.split())
        assert result.exit_code == 0, f"{command}: {result.stderr}"
        lines = [line.rstrip() for line in result.stdout.strip("\n").splitlines()]
        printed = "\n".join(line for line in lines if line) + "\n"
        if update:
            text = text.replace(block[0], f"```console\n$ fpc {command}\n{printed}```\n")
        else:
            assert skeleton(shown) == skeleton(printed), command
        commands += 1
    assert commands >= 5
    if update:
        README.write_text(text, encoding="utf-8")


def test_every_target_is_in_the_table():
    text = README.read_text(encoding="utf-8")
    for target in list_targets():
        assert f"`{target.name}`" in text


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_and_paths_exist(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    paths = re.findall(r"`((?:passes|targets|footprint_compiler|tests|examples)/[\w/.-]+)`", text)
    assert links or paths
    missing = [path for path in (*links, *paths) if not (ROOT / path).exists()]
    assert missing == []
