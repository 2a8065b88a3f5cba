# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One self-contained HTML page from a template of the room that fills it, on the base that all pages share.

Everything that a template shows is escaped, but for charts (``|safe``): names, tasks and paths come from anywhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from hpt_ros.atomic import write_text
from hpt_ros.errors import Code, HptError


def render(package: str, template: str, **values: Any) -> str:
    """Fill a template.

    Args:
        package: that the template lies in, in its folder ``templates``.
        template: name of it; it may extend ``base.html``.
        **values: what it shows; one that it names and is not here is an error of the programme.
    """
    loader = ChoiceLoader([PackageLoader(package), PackageLoader("hpt_ros.report")])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "number": number}
    return environment.get_template(template).render(**values) + "\n"


def write_page(path: Path, text: str) -> None:
    """Write a page, complete or not at all, in place of one that is there.

    Raises:
        HptError: it cannot be written.
    """
    try:
        write_text(path, text)
    except OSError as error:
        raise HptError(
            Code.UNWRITABLE, f"the file {str(path)!r}", remedy="name another place", cause=error
        ) from error


def require_html(option: str, path: Path) -> None:
    """Check the name of a page.

    Raises:
        HptError: it does not end in .html.
    """
    if path.suffix != ".html":
        raise HptError(
            Code.INVALID, option, str(path), expected="a name that ends in .html", remedy="give one"
        )


def percent(ratio: float) -> str:
    """Return a ratio in percent; a small one is not "0 %", which would read as none."""
    if ratio and abs(ratio) < 0.01:
        return "< 1 %"
    return f"{100 * ratio:.0f} %" if abs(ratio) < float("inf") else "not finite"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with so many digits that count; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.{digits}g}"
