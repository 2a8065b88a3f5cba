"""Draws a quality report as one HTML page that needs nothing else: tables, and plots as inline SVG.

Every text of the dataset (tasks, joint and view names) is escaped: it may come from anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from rosbag_tools.quality import CHECKS, FROZEN_S, IDLE_SHARE, Quality
from rosbag_tools.quality_measure import EpisodeQuality

# Beyond this many, a list of episodes or findings is cut, and says so; the JSON has all.
MOST_ROWS = 2000
MOST_LISTED = 12

STYLE = """
body{font:14px/1.45 system-ui,sans-serif;color:#1c2630;background:#fff;margin:24px auto;max-width:1120px;padding:0 16px}
h1{font-size:22px;margin:0 0 2px}h2{font-size:17px;margin:28px 0 8px}p{margin:4px 0 10px}.quiet{color:#5c6873}
table{border-collapse:collapse;width:100%}th,td{padding:4px 8px;border-bottom:1px solid #e3e8ec;vertical-align:top}
th{text-align:left;font-weight:600;background:#f4f6f8}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.ok{color:#1b7a3d;font-weight:600}.bad{color:#b3261e;font-weight:600}td.bad{background:#fdf0ef}
.plots{display:flex;flex-wrap:wrap;gap:16px}figure{margin:0}figcaption{font-size:12px;color:#5c6873}
svg text{font:11px system-ui,sans-serif;fill:#5c6873}
"""
BAR, MARK = "#4a7fb5", "#b3261e"


def page(quality: Quality, where: str) -> str:
    """The page's text.

    Args:
        quality: what was found.
        where: the dataset's folder, for the heading.
    """
    ticks = sum(entry.duration_s for entry in quality.episodes)
    flagged = len({finding.episode for finding in quality.findings if finding.episode >= 0})
    title = f"Quality of {where}"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="quiet">Robot {escape(quality.robot)}, {len(quality.episodes)} episodes, {ticks / 60:.1f} min at '
        f"{quality.tick_hz:g} Hz; {flagged} episodes with findings. Speeds come from neighbouring ticks.</p>",
        "<h2>Summary</h2>",
        _summary(quality),
        "<h2>Episodes at a glance</h2>",
        '<p class="quiet">How many episodes have which value; the red line is where a finding begins, or, for '
        "acceleration, the limit.</p>",
        _plots(quality.episodes),
        "<h2>Findings</h2>",
        _findings(quality),
        "<h2>Dimensions</h2>",
        '<p class="quiet">Histogram over the values that occur; the bar under it is where they lie between the '
        "limits.</p>",
        _dimensions(quality),
        "<h2>Every episode</h2>",
        '<p class="quiet">Velocity and acceleration: share of the limit. Jerk: 100 % turns the full acceleration '
        "around within one tick. Frozen: longest time that a picture stays the same while the arm moves.</p>",
        _episodes(quality),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _table(head: Sequence[tuple[str, bool]], rows: Sequence[str]) -> str:
    """A table from its headings (text, is a number) and rows of cells."""
    cells = "".join(f"<th{' class=n' if number else ''}>{escape(text)}</th>" for text, number in head)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def _text(value: str) -> str:
    return f"<td>{escape(value)}</td>"


def _number(value: str, bad: bool = False) -> str:
    return f'<td class="n{" bad" if bad else ""}">{escape(value)}</td>'


def _listed(indices: Sequence[int]) -> str:
    unique = sorted(set(indices))
    more = f" and {len(unique) - MOST_LISTED} more" if len(unique) > MOST_LISTED else ""
    return ", ".join(str(index) for index in unique[:MOST_LISTED]) + more


def _summary(quality: Quality) -> str:
    rows = []
    for key, check in CHECKS.items():
        found = quality.of(key)
        if not found:
            rows.append(f'{_text(check.title)}<td class="ok">none</td><td></td><td></td>')
            continue
        indices = [finding.episode for finding in found if finding.episode >= 0]
        where = (
            f"episodes {_listed(indices)}" if indices else "; ".join(f.subject for f in found[:MOST_LISTED])
        )
        rows.append(
            f'{_text(check.title)}<td class="bad">{len(found)}</td>{_text(where)}{_text(check.remedy)}'
        )
    return _table([("check", False), ("found", False), ("where", False), ("what to do", False)], rows)


def _findings(quality: Quality) -> str:
    if not quality.findings:
        return '<p class="ok">Nothing found.</p>'
    rows = [
        _text(CHECKS[finding.check].title)
        + _number(str(finding.episode) if finding.episode >= 0 else "all")
        + _text(finding.text)
        for finding in quality.findings[:MOST_ROWS]
    ]
    return _table([("check", False), ("episode", True), ("what", False)], rows) + _cut(len(quality.findings))


def _cut(count: int) -> str:
    return f"<p>The first {MOST_ROWS} of {count}; the JSON has all.</p>" if count > MOST_ROWS else ""


def _plots(episodes: Sequence[EpisodeQuality]) -> str:
    entries: tuple[tuple[str, Callable[[EpisodeQuality], float], float | None], ...] = (
        ("duration [s]", lambda e: e.duration_s, None),
        ("idle share", lambda e: e.idle_share, IDLE_SHARE),
        ("peak velocity / limit", lambda e: e.peak_velocity, 1.0),
        ("peak acceleration / limit", lambda e: e.peak_acceleration, 1.0),
        ("peak jerk / turning it around in a tick", lambda e: e.peak_jerk, 1.0),
        ("path [joint ranges]", lambda e: e.path, None),
    )
    figures = []
    for title, value, limit in entries:
        values = np.array([value(entry) for entry in episodes])
        figures.append(
            f"<figure>{_histogram_of(values, limit)}<figcaption>{escape(title)}; episodes</figcaption></figure>"
        )
    return f'<div class="plots">{"".join(figures)}</div>'


def _histogram_of(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]], limit: float | None) -> str:
    """Histogram with its axis; the limit is drawn where it is within reach of the values."""
    low, high = float(values.min()), float(values.max())
    if limit is not None:
        low, high = min(low, 0.0), max(high, limit)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    counts = np.histogram(values, 24, (low, high))[0]
    width, height = 340, 90
    mark = "" if limit is None else _line(width * (limit - low) / (high - low), height)
    axis = (
        f'<text x="1" y="{height + 13}">{low:.3g}</text>'
        f'<text x="{width - 1}" y="{height + 13}" text-anchor="end">{high:.3g}</text>'
        f'<text x="{width / 2:g}" y="{height + 13}" text-anchor="middle">most: {int(counts.max())}</text>'
    )
    return _svg(width, height + 18, _bars([int(count) for count in counts], width, height) + mark + axis)


def _svg(width: int, height: int, inside: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">{inside}</svg>'
    )


def _line(x: float, height: int) -> str:
    # Half the stroke would fall outside at the edge.
    return f'<line x1="{x - 1:.1f}" x2="{x - 1:.1f}" y1="0" y2="{height}" stroke="{MARK}" stroke-width="2"/>'


def _bars(counts: Sequence[int], width: int, height: int) -> str:
    most = max([*counts, 1])
    step = width / len(counts)
    bars = [
        f'<rect x="{place * step:.1f}" y="{height - tall:.1f}" width="{step - 1:.1f}" height="{tall:.1f}" '
        f'fill="{BAR}"/>'
        for place, count in enumerate(counts)
        if (tall := height * count / most)
    ]
    base = f'<line x1="0" x2="{width}" y1="{height}" y2="{height}" stroke="#aab4bd"/>'
    return "".join(bars) + base


def _dimensions(quality: Quality) -> str:
    constants = {finding.subject for finding in quality.of("constant")}
    offsets = {finding.subject for finding in quality.of("offset")}
    rows = []
    for entry in quality.dimensions:
        width, height = 150, 34
        plot = _bars(entry.histogram, width, height)
        limits = "none"
        if entry.lower is not None and entry.upper is not None:
            limits = f"{entry.lower:.4g} to {entry.upper:.4g}"
            span = entry.upper - entry.lower
            left, right = (
                width * min(max((edge - entry.lower) / span, 0.0), 1.0)
                for edge in (entry.minimum, entry.maximum)
            )
            plot += (
                f'<rect x="0" y="38" width="{width}" height="5" fill="#e3e8ec"/>'
                f'<rect x="{left:.1f}" y="38" width="{max(right - left, 1.0):.1f}" height="5" fill="{BAR}"/>'
            )
        label = f"{entry.kind} {entry.name}"
        constant = label in constants
        offset = "" if entry.rest_offset is None else f"{entry.rest_offset:+.2g}"
        rows.append(
            _text(entry.kind)
            + _text(entry.name)
            + _number(f"{entry.minimum:.4g} to {entry.maximum:.4g}", constant)
            + _number(limits)
            + _number(f"{entry.mean:.4g}")
            + _number(f"{entry.variance:.3g}", constant)
            + _number(offset, label in offsets)
            + f"<td>{_svg(width, 44, plot)}</td>"
        )
    head = [
        ("", False),
        ("name", False),
        ("range", True),
        ("limits", True),
        ("mean", True),
        ("variance", True),
    ]
    return _table([*head, ("state - command at rest", True), ("histogram", False)], rows)


def _episodes(quality: Quality) -> str:
    found: dict[int, set[str]] = {}
    for finding in quality.findings:
        found.setdefault(finding.episode, set()).add(finding.check)
    rows = []
    for entry in quality.episodes[:MOST_ROWS]:
        bad = found.get(entry.index, set())
        frozen_s = max([*entry.frozen_s.values(), 0.0])
        dark = max([*entry.dark_share.values(), 0.0])
        rows.append(
            _number(str(entry.index), bool(bad))
            + _number(f"{entry.duration_s:.1f}")
            + _number(_percent(entry.idle_share), bool(bad & {"idle", "idle_edge"}))
            + _number(_percent(entry.peak_velocity), "velocity" in bad)
            + _number(_percent(entry.peak_acceleration))
            + _number(_percent(entry.peak_jerk), "jerk" in bad)
            + _number(_percent(entry.limit_share), "limit" in bad)
            + _number(f"{frozen_s:.1f}", frozen_s >= FROZEN_S)
            + _number(_percent(dark), "dark" in bad)
            + _text(", ".join(CHECKS[key].title for key in CHECKS if key in bad))
        )
    head = [
        ("episode", True),
        ("duration [s]", True),
        ("idle", True),
        ("velocity", True),
        ("acceleration", True),
    ]
    head += [("jerk", True), ("at limits", True), ("frozen [s]", True), ("dark", True), ("findings", False)]
    return _table(head, rows) + _cut(len(quality.episodes))


def _percent(share: float) -> str:
    # A small share is not "0 %": that would read as none.
    if share and share < 0.01:
        return "< 1 %"
    return f"{100 * share:.0f} %" if math.isfinite(share) else "not finite"
