"""Tables of stored results: the claims, and what the benchmarks measured."""

import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Row = Mapping[str, Any]

_HIDDEN = ("unavailable", "error_text", "explanation")  # empty in most rows, sentences in the others
_ALL_ROWS = 30  # more are folded away


def claims_page(results: Mapping[str, Any]) -> str:
    """Every claim with its verdict, then a section for each."""
    from levyjax.claims import CLAIMS

    rows = {row["id"]: row for row in results["claims"]}  # with the statements and rules of the run, not today's
    quick = any("--quick" in row["command"] for row in results["claims"])
    size, note = (" --quick", "**at the quick size of the experiments**") if quick else ("", "at the default size")
    order = [claim for claim in CLAIMS if claim.id in rows]
    counts: dict[str, int] = {}
    for claim in order:
        verdict = _verdict(rows[claim.id])
        counts[verdict] = counts.get(verdict, 0) + 1
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    waiting = [claim.id for claim in CLAIMS if claim.id not in rows]
    table = markdown_table(
        [
            {
                "id": f"[{claim.id}](#{_anchor(claim.id)})",
                "verdict": _verdict(rows[claim.id]),
                "statement": rows[claim.id]["statement"],
                "exact law": rows[claim.id]["expected"],
                "measured": rows[claim.id]["measured"],
                "95% interval": rows[claim.id]["ci95"],
            }
            for claim in order
        ]
    )
    parts = [
        "# Claims put to the test",
        f"`levyjax reproduce{size} --out report` gave this table, {note}: {summary}. A verdict is on the statement as "
        "its authors make it, and follows from the numbers by the rule that stands with the claim; *undecided* says "
        "that this size of the experiment is too small to tell. The report that the command writes has the figures.",
        environment_line(results["environment"]),
        table,
        *(_claim_section(rows[claim.id]) for claim in order),
    ]
    if waiting:
        parts.append(f"Not in the stored results: {', '.join(waiting)}.")
    return "\n\n".join(parts) + "\n"


def _verdict(row: Row) -> str:
    return row["verdict"].replace("_", " ")


def _anchor(claim_id: str) -> str:
    return f"claim-{claim_id.lower()}"


def _claim_section(row: Row) -> str:
    return (
        f"({_anchor(row['id'])})=\n## {row['id']}: {_verdict(row)}\n\n"
        f"{plain(row['statement'])}\n\n{plain(row['finding'])}\n\n"
        f"* Source: {plain(row['source'])}\n* Rule: {plain(row['rule'])}\n"
        f"* Again: `{row['command']}` ({cell(row['seconds'])} s, seed {row['seed']})"
    )


def measured_page(benchmarks: Path) -> str:
    """What `benchmarks/results` holds: for each file its device, its figure and its rows."""
    topics = _topics(benchmarks)
    files = sorted((benchmarks / "results").glob("*.json"), key=lambda path: _place(path.stem, list(topics)))
    parts = [
        "# What was measured",
        "Every table is made from a file of `benchmarks/results/`, most of them written by `levyjax bench`. A file's "
        "name ends with the backend, and each section says which device and which versions. The CPU was a shared "
        "2-core virtual machine: ratios within a file mean more than rates across machines.",
    ]
    return "\n\n".join([*parts, *(_measured(path, topics) for path in files)]) + "\n"


def _topics(benchmarks: Path) -> dict[str, str]:
    """Topic -> what it is about, from the package of benchmarks."""
    return _module(benchmarks / "__init__.py").TOPICS


def _module(path: Path) -> Any:
    """A module by its file."""
    spec = importlib.util.spec_from_file_location(f"documented_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _place(stem: str, topics: Sequence[str]) -> tuple[int, str]:
    """Files in the order of the topics, others after them."""
    topic = stem.rpartition("_")[0]
    return (topics.index(topic) if topic in topics else len(topics), stem)


def _measured(path: Path, topics: Mapping[str, str]) -> str:
    result = json.loads(path.read_text(encoding="utf-8"))
    topic, _, backend = path.stem.rpartition("_")
    parts = [f"## {topic.replace('_', ' ')}, {backend}"]
    if about := result.get("about", topics.get(topic)):
        parts.append(plain(about[0].upper() + about[1:]) + ".")
    size = " A quick run, of small sizes." if result.get("quick") else ""
    if "environment" in result:
        parts.append(environment_line(result["environment"]) + size)
    if path.with_suffix(".png").exists():
        parts.append(f"![{topic.replace('_', ' ')}, {backend}](../benchmarks/results/{path.stem}.png)")
    rows = result.get("rows") or []
    if topic == "crosscheck":
        parts.append(_module(path.parents[1] / "crosscheck" / "__init__.py").markdown(result))
    elif rows and all(isinstance(row, dict) for row in rows):
        table = markdown_table(flat_rows(rows))
        if len(rows) > _ALL_ROWS or path.with_suffix(".png").exists():
            table = f"<details><summary>{len(rows)} rows</summary>\n\n{table}\n\n</details>"
        parts.append(table)
    parts.append(f"All numbers: {{download}}`{path.name} <../benchmarks/results/{path.name}>`.")
    return "\n\n".join(parts)


def environment_line(environment: Mapping[str, Any]) -> str:
    """Device and versions as a sentence."""
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    return (
        f"*{', '.join(environment['devices'])}; {environment['platform']}; Python {environment['python']}, {packages}.*"
    )


def flat_rows(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The columns of rows that a table can show: numbers, texts and intervals, where any row has one."""
    names = dict.fromkeys(name for row in rows for name in row if name not in _HIDDEN)
    shown = [name for name in names if any(_fits(row.get(name)) for row in rows)]
    return [{name: row.get(name) if _fits(row.get(name)) else None for name in shown} for row in rows]


def _fits(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) or (len(value) == 2 and isinstance(item, int | float)) for item in value)
    return value is not None and not isinstance(value, dict)


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows as a Markdown table; numbers with four digits, a dash for what does not exist."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[name.replace("_", " ") for name in names], ["---"] * len(names)]
    lines += [[cell(row.get(name)) for name in names] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "infinite"
    if isinstance(value, list | tuple):
        texts = all(isinstance(item, str) for item in value)
        return ", ".join(map(cell, value)) if texts else f"[{', '.join(map(cell, value))}]"
    return value if value.startswith("[") else plain(value)


def plain(text: str) -> str:
    """Text in which Markdown finds no markup."""
    for mark in "\\*_|<$[]^~`":
        text = text.replace(mark, "\\" + mark)
    return text.replace("\n", " ")
