"""A report as one HTML page that needs nothing from anywhere else."""

from __future__ import annotations

import json
from html import escape

from core.evaluation.report import Plot, Report, Table

_STYLE = """
:root { color-scheme: light dark; --text: #1c2128; --page: #ffffff; --soft: #59636e; --line: #d1d9e0;
  --first: #0b61a4; --second: #b04a00; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --page: #0d1117; --soft: #9aa4af; --line: #3d444d; --first: #6cb6ff; --second: #ffa657; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 2rem; }
caption { text-align: left; font-weight: 600; padding: 0.4rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.75rem 0.25rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: break-word; }
figure { margin: 1.5rem 0; } figcaption { color: var(--soft); }
.scroll { overflow-x: auto; }
svg { width: 100%; height: auto; max-width: 44rem; font: 13px system-ui, sans-serif; }
svg text { fill: var(--text); }
.line { fill: none; stroke-width: 2.5; } .area { fill-opacity: 0.45; stroke-width: 1; }
.line.series0, .area.series0 { stroke: var(--first); } .area.series0 { fill: var(--first); }
.line.series1, .area.series1 { stroke: var(--second); } .area.series1 { fill: var(--second); }
.line.series1 { stroke-dasharray: 7 4; }
.grid { stroke: var(--line); } .axis, .mark, .interval { stroke: var(--text); stroke-width: 1.5; }
.mark { stroke-dasharray: 2 4; }
pre { background: color-mix(in srgb, var(--line) 35%, transparent); padding: 0.75rem; overflow-x: auto; }
"""


def render(report: Report) -> str:
    """Return the page."""
    title = escape(report.title)
    facts = Table(title="What was measured", columns=("", ""), rows=report.facts)
    body = [
        f"<h1>{title}</h1>",
        _table(facts),
        *(_table(table) for table in report.tables[:1]),
        *(_plot(plot) for plot in report.plots),
        *(_table(table) for table in report.tables[1:]),
        f"<h2>Figures for programs</h2><pre>{escape(json.dumps(report.figures, indent=2))}</pre>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


def _table(table: Table) -> str:
    named = any(table.columns) and bool(table.rows)
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    header = f"<thead><tr>{head}</tr></thead>" if named else ""
    rows = "".join(_row(row) for row in table.rows)
    caption = f"<caption>{escape(table.title)}</caption>"
    return f'<div class="scroll"><table>{caption}{header}<tbody>{rows}</tbody></table></div>'


def _row(row: tuple[str, ...]) -> str:
    first, *others = row
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in others)
    return f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'


def _plot(plot: Plot) -> str:
    return f"<figure><h2>{escape(plot.title)}</h2>{plot.svg}<figcaption>{escape(plot.caption)}</figcaption></figure>"
