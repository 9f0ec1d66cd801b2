"""Small text helpers for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def printable(text: str) -> str:
    """Control characters as escapes: names come from files that anyone may have written."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def one_line(text: str, limit: int = 300) -> str:
    """White space collapsed, printable, at most ``limit`` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 3] + "..."


def size(size_bytes: int) -> str:
    """Bytes for a reader: ``612 B``, ``14.2 KiB``, ``1.35 MiB``."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 1024**2:
        return f"{size_bytes / 1024:.1f} KiB"
    return f"{size_bytes / 1024**2:.2f} MiB"


def shape(dimensions: tuple[int, ...]) -> str:
    """``1x3x224x224``; a scalar is ``scalar``."""
    return "x".join(map(str, dimensions)) or "scalar"


def table(*columns: str, right: tuple[str, ...] = (), title: str | None = None) -> Table:
    """A plain table; the columns named in ``right`` are right-aligned."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def add_row(made: Table, *cells: object) -> None:
    """Add cells as text, never as markup."""
    from rich.text import Text

    made.add_row(*(Text(printable(str(cell))) for cell in cells))
