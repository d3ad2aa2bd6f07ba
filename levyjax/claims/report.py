"""The report: one self-contained HTML file."""

import base64
import html
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --soft: #5b5b5b; --line: #d9d9d9; --card: #f6f6f4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e9e9e6; --paper: #16181b; --soft: #a5a5a0; --line: #3a3d42; --card: #1f2226; } }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 62rem; padding: 1.5rem; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.2rem; margin: 0 0 .4rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
section { border-top: 1px solid var(--line); margin-top: 1.8rem; padding-top: 1.2rem; }
figure { margin: .8rem 0; background: #fff; border-radius: 6px; padding: .6rem; width: fit-content; max-width: 100%;
  box-sizing: border-box; } figure img { max-width: 100%; height: auto; display: block; }
.verdict { font-weight: 600; white-space: nowrap; padding: .1rem .5rem; border-radius: 4px; border: 1px solid; }
.confirmed { color: #1b7f4d; } .refuted { color: #c2401c; } .holds_within_limits { color: #8a6500; }
.undecided, .not_testable { color: var(--soft); }
@media (prefers-color-scheme: dark) { .confirmed { color: #5fd39b; } .refuted { color: #ff8a66; }
  .holds_within_limits { color: #e6c25b; } }
code { background: var(--card); padding: .1rem .3rem; border-radius: 3px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 40rem) {
  body { padding: 1rem; } table { font-size: .9rem; } th, td { padding-right: .5rem; }
  th:nth-child(3), td:nth-child(3), th:nth-child(4), td:nth-child(4) { display: none; }
  td .verdict { white-space: normal; display: inline-block; font-size: .8rem; line-height: 1.25; }
  dl { grid-template-columns: 1fr; } dd { margin-bottom: .4rem; } }
@media print { section { break-inside: avoid; } a { color: inherit; } }
"""


def number(value: Any) -> str:
    """A number as the report shows it; a dash where there is none."""
    return "–" if value is None else f"{value:.4g}"


def interval(ends: Any) -> str:
    """An interval as the report shows it."""
    return "–" if ends is None else f"[{number(ends[0])}, {number(ends[1])}]"


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {verdict}">{verdict.replace("_", " ")}</span>'


def _row(claim: dict[str, Any]) -> str:
    cells = (
        f'<a href="#{claim["id"]}">{claim["id"]}</a>',
        html.escape(claim["statement"]),
        number(claim["expected"]),
        f"{number(claim['measured'])} {interval(claim['ci95'])}",
        _verdict(claim["verdict"]),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _section(claim: dict[str, Any], figure: bytes | None) -> str:
    picture = ""
    if figure is not None:
        encoded = base64.b64encode(figure).decode("ascii")
        alt = html.escape(claim["figure_alt"])
        picture = f'<figure><img alt="{alt}" src="data:image/png;base64,{encoded}"></figure>'
    facts = {
        "expected by the exact law": number(claim["expected"]),
        "measured, 95% interval": f"{number(claim['measured'])} {interval(claim['ci95'])}",
        "rule of the verdict": html.escape(claim["rule"]),
        "source": html.escape(claim["source"]),
        "run again": f"<code>{html.escape(claim['command'])}</code> ({claim['seconds']:.1f} s, seed {claim['seed']})",
    }
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts.items())
    return (
        f'<section id="{claim["id"]}"><h2>{claim["id"]} {_verdict(claim["verdict"])}</h2>'
        f"<p>{html.escape(claim['statement'])}</p><p>{html.escape(claim['finding'])}</p>{picture}<dl>{listed}</dl></section>"
    )


def render_report(results: dict[str, Any], figures: dict[str, bytes]) -> str:
    """The report as HTML text: a table of all claims, then a section for each with its figure.

    Args:
        results: as in `results.json`.
        figures: PNG data by claim id.
    """
    claims = results["claims"]
    counts = {verdict: sum(claim["verdict"] == verdict for claim in claims) for verdict in _ORDER}
    summary = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in counts.items() if count)
    where = results["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in where["packages"].items())
    rows = "".join(map(_row, claims))
    sections = "".join(_section(claim, figures.get(claim["id"])) for claim in claims)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>levyjax: claims put to the test</title><style>{_STYLE}</style></head><body>"
        f'<h1>Claims put to the test</h1><p class="soft">{summary}. A verdict is on the statement as its authors make '
        "it and follows from the numbers by the rule given with it.</p>"
        '<div class="wide"><table><thead><tr><th>id</th><th>statement</th><th>exact law</th>'
        f"<th>measured, 95% interval</th><th>verdict</th></tr></thead><tbody>{rows}</tbody></table></div>{sections}"
        f'<section><p class="soft">Python {where["python"]}, {packages}; {html.escape(", ".join(where["devices"]))}, '
        f"{html.escape(where['platform'])}.</p></section></body></html>\n"
    )


_ORDER = ("confirmed", "refuted", "holds_within_limits", "undecided", "not_testable")
