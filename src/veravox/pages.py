"""The shell of every HTML page of the house: one self-contained file, light and dark, readable on a phone.

A page loads nothing: pictures are data, there is no script, and its own policy forbids the rest.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class Html(str):
    """Text that is markup already; everything else is escaped."""

    __slots__ = ()


@dataclass(frozen=True)
class Section:
    """A heading and the markup below it; an `anchor` makes it reachable from the page's contents."""

    heading: str
    body: Html
    anchor: str = ""


STYLE = """
:root { color-scheme: light dark;
  --page: #f6f7f9; --paper: #ffffff; --ink: #1b2330; --soft: #566174; --line: #dfe3ea; --accent: #0b6b66;
  --head: #eef1f5; --good: #0b6b44; --bad: #a62c2b; --warn: #7a5200; --warn-paper: #fdf3dc; --best: #dff1ec; }
@media (prefers-color-scheme: dark) { :root {
  --page: #10141b; --paper: #181e27; --ink: #e5eaf2; --soft: #9ba7b9; --line: #2d3643; --accent: #58c4ba;
  --head: #202834; --good: #6fd3a2; --bad: #f29492; --warn: #f0c674; --warn-paper: #2e2716; --best: #1d3a38; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 1.75rem 1.25rem 3rem; }
h1 { font-size: clamp(1.45rem, 4.5vw, 2rem); line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.01em;
  overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; line-height: 1.3; margin: 0 0 .75rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .5rem; }
p { margin: 0 0 .75rem; max-width: 46rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
code { font: .9em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
.lead { color: var(--soft); margin-bottom: 1.25rem; }
nav { margin: 0 0 1.25rem; display: flex; flex-wrap: wrap; gap: .35rem 1rem; font-size: .92rem; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem 1.2rem;
  margin: 0 0 1rem; }
section > :last-child { margin-bottom: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;
  margin: 0 0 1rem; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: .8rem 1rem; }
.card .name { color: var(--soft); font-size: .85rem; }
.card .value { font-size: 1.5rem; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card .note { color: var(--soft); font-size: .82rem; }
.scroll { overflow-x: auto; margin: 0 0 .75rem; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; min-width: 100%; }
caption { caption-side: top; text-align: left; color: var(--soft); padding: 0 0 .4rem; font-size: .88rem; }
th, td { padding: .38rem .7rem; text-align: left; border-bottom: 1px solid var(--line); white-space: nowrap; }
thead th { background: var(--head); font-weight: 600; font-size: .85rem; }
tbody th { font-weight: 500; position: sticky; left: 0; background: var(--paper); }
tbody tr:last-child > * { border-bottom: 0; }
.number { text-align: right; }
td.wrap { white-space: normal; min-width: 14rem; overflow-wrap: anywhere; }
.best { font-weight: 700; background: var(--best); }
.second { text-decoration: underline; text-underline-offset: .18em; }
figure { margin: 0 0 1rem; max-width: 42rem; }
figure img { display: block; width: 100%; height: auto; border-radius: 8px; }
figcaption { color: var(--soft); font-size: .88rem; margin-top: .4rem; max-width: 46rem; }
.figures { display: grid; gap: .5rem 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.notice { border-left: 4px solid var(--warn); background: var(--warn-paper); border-radius: 8px;
  padding: .65rem .9rem; margin: 0 0 1rem; max-width: none; }
.good { color: var(--good); } .bad { color: var(--bad); } .soft { color: var(--soft); }
footer { color: var(--soft); font-size: .85rem; }
@media (max-width: 34rem) { main { padding: 1.1rem .8rem 2rem; } section { padding: .9rem; border-radius: 10px; }
  .cards { grid-template-columns: 1fr 1fr; gap: .5rem; } .card { padding: .6rem .75rem; }
  .card .value { font-size: 1.25rem; } th, td { padding: .34rem .5rem; }
  table { font-size: .84rem; } tbody th { max-width: 10rem; white-space: normal; } }
@media print { body { background: #fff; } section, .card { break-inside: avoid; } nav { display: none; } }
"""

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def escape(content: object) -> str:
    """Any value as safe markup; `Html` is taken as it is, None is empty."""
    if isinstance(content, Html):
        return str(content)
    return "" if content is None else html.escape(str(content), quote=True)


def paragraph(text: object, kind: str = "") -> Html:
    """One paragraph; `kind` is a class of the style, such as `soft` or `notice`."""
    return Html(f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>")


def notice(text: object) -> Html:
    """A paragraph that must not be overlooked."""
    return Html(f'<p class="notice" role="note">{escape(text)}</p>')


def cards(items: Iterable[tuple[object, object, object]]) -> Html:
    """Headline figures as a row of cards: (name, value, note) each."""
    shown = "".join(
        f'<div class="card"><div class="name">{escape(name)}</div><div class="value">{escape(value)}</div>'
        f'<div class="note">{escape(note)}</div></div>'
        for name, value, note in items
    )
    return Html(f'<div class="cards">{shown}</div>')


@dataclass(frozen=True)
class Cell:
    """A table cell with a class of the style: `best`, `second`, `good`, `bad`, `soft`, `wrap`."""

    content: object
    kind: str


def _is_number(content: object) -> bool:
    text = str(content).strip()
    return not text or text[0] in "0123456789.+-−–—" or text[0] == "±"


def table(columns: Sequence[object], rows: Sequence[Sequence[object]], caption: str = "") -> Html:
    """A table that scrolls sideways on a narrow screen; the first column names the row and stays in view.

    Columns whose cells all begin like a number are right-aligned.
    """
    plain = [[cell.content if isinstance(cell, Cell) else cell for cell in row] for row in rows]
    numeric = [index > 0 and all(_is_number(row[index]) for row in plain) for index in range(len(columns))]
    head = "".join(
        f'<th scope="col"{_classes("number" if number else "")}>{escape(column)}</th>'
        for column, number in zip(columns, numeric, strict=True)
    )
    body = "".join(f"<tr>{_row(row, numeric)}</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return Html(
        f'<div class="scroll" tabindex="0"><table>{title}<thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _classes(*names: str) -> str:
    joined = " ".join(name for name in names if name)
    return f' class="{joined}"' if joined else ""


def _row(row: Sequence[object], numeric: Sequence[bool]) -> str:
    cells = []
    for index, (cell, number) in enumerate(zip(row, numeric, strict=True)):
        content, kind = (cell.content, cell.kind) if isinstance(cell, Cell) else (cell, "")
        tag, scope = ("th", ' scope="row"') if index == 0 else ("td", "")
        cells.append(f"<{tag}{scope}{_classes('number' if number else '', kind)}>{escape(content)}</{tag}>")
    return "".join(cells)


def _data_address(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def picture(light: bytes, alt: str, caption: object = "", dark: bytes | None = None) -> Html:
    """A PNG held in the page itself, with another one for dark screens where given."""
    night = f'<source media="(prefers-color-scheme: dark)" srcset="{_data_address(dark)}">' if dark else ""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    image = f'<img src="{_data_address(light)}" alt="{escape(alt)}" loading="lazy">'
    return Html(f"<figure><picture>{night}{image}</picture>{below}</figure>")


def side_by_side(pictures: Iterable[Html]) -> Html:
    """Pictures in columns where the screen is wide enough, below each other where not."""
    return Html(f'<div class="figures">{"".join(pictures)}</div>')


def join(*parts: Html) -> Html:
    """Several pieces of markup as one."""
    return Html("".join(parts))


def page(
    title: str, sections: Sequence[Section], lead: object = "", top: Html | None = None, foot: str = ""
) -> str:
    """A whole self-contained HTML page.

    Args:
        title: of the page, and its first heading.
        sections: shown in order; those with an anchor are listed below the title.
        lead: one paragraph below the title.
        top: markup before the first section, such as `cards` or a `notice`.
        foot: how and when the page was made.
    """
    links = "".join(f'<a href="#{escape(s.anchor)}">{escape(s.heading)}</a>' for s in sections if s.anchor)
    contents = f'<nav aria-label="Contents">{links}</nav>' if links else ""
    shown = "".join(
        f"<section{f' id={chr(34)}{escape(s.anchor)}{chr(34)}' if s.anchor else ''}><h2>{escape(s.heading)}</h2>"
        f"{s.body}</section>"
        for s in sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,"><title>{escape(title)}</title>\n<style>{STYLE}</style></head>\n'
        f"<body><main><h1>{escape(title)}</h1>"
        f"{paragraph(lead, 'lead') if lead else ''}{contents}{top or ''}{shown}"
        f"<footer>{escape(foot)}</footer></main></body></html>\n"
    )
