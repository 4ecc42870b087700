"""A report as one self-contained file, HTML or Markdown: its pictures are in it, and it asks for nothing else."""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adapterhub.adapter.plain_text import made_harmless
from adapterhub.errors import InvalidConfig
from adapterhub.files import write_atomic
from adapterhub.reporting.pictures import EXTRA, can_draw
from adapterhub.reporting.section import Picture, Section

SUFFIXES = (".html", ".htm", ".md")
_MARKS = re.compile(r"([\\`\[\]|])")
LONGEST_CELL = 400
"""Characters of a text that are shown; a row may hold a whole book."""


def require_page_name(file: Path) -> None:
    """Raise InvalidConfig where a report cannot have this name, before hours are spent on what goes into it."""
    if file.suffix.lower() not in SUFFIXES:
        raise InvalidConfig(f"A report cannot be written to {file}: {file.suffix or 'no suffix'} is none of "
                            f"{', '.join(SUFFIXES)}.", hint="Name for instance report.html.")
    if file.is_dir():
        raise InvalidConfig(f"A report cannot be written to {file}, which is a folder.", hint="Name another file.")


def write_page(file: Path, title: str, sections: Sequence[Section]) -> None:
    """Write a report, over an older one. Raises InvalidConfig as `require_page_name`, StorageError."""
    require_page_name(file)
    shown = [_shortened(section) for section in sections]
    if not can_draw():
        shown.append(Section(title="Pictures", note=f"There are none here: pip install 'adapterhub[{EXTRA}]'."))
    text = _markdown(title, shown) if file.suffix.lower() == ".md" else _html(title, shown)
    write_atomic(file, text.encode())


def _html(title: str, sections: Sequence[Section]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("adapterhub", "reporting"), autoescape=True,
                              undefined=StrictUndefined, trim_blocks=True)
    environment.filters["data_uri"] = _data_uri
    return environment.get_template("page.html").render(title=title, sections=sections)


def _markdown(title: str, sections: Sequence[Section]) -> str:
    parts = [f"# {_cell(title)}"]
    for section in sections:
        parts.append(f"## {_cell(section.title)}")
        if section.note:
            parts.append(section.note)
        if section.picture:
            parts.append(f"![{section.picture.alt}]({_data_uri(section.picture)})")
        if section.lines:
            parts.append("\n".join([f"| {' | '.join(section.header)} |", f"|{'---|' * len(section.header)}",
                                    *(f"| {' | '.join(map(_cell, line))} |" for line in section.lines)]))
    return "\n\n".join(parts) + "\n"


def _data_uri(picture: Picture) -> str:
    """Return a picture as an address that holds it; shown as an image, nothing in it can run."""
    return f"data:image/svg+xml;base64,{base64.b64encode(picture.svg).decode()}"


def _shortened(section: Section) -> Section:
    lines = [tuple(cell if len(cell) <= LONGEST_CELL else f"{cell[:LONGEST_CELL]} ..." for cell in line)
             for line in section.lines]
    return replace(section, lines=lines)


def _cell(text: str) -> str:
    """Return a text that stays in its cell, is shown as it was written, and loads nothing."""
    one_line = html.escape(" ".join(text.split()), quote=False)
    return made_harmless(_MARKS.sub(r"\\\1", one_line))
