"""The text files of the packages, as Jinja templates in ``templates/``."""

from __future__ import annotations

from typing import Any

import jinja2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("footprint_compiler.package", "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,
)


def render(template: str, **values: Any) -> bytes:
    """The template with its values, as UTF-8."""
    return _TEMPLATES.get_template(template).render(**values).encode()
