# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Draws a quality report as one HTML page that needs nothing else: no script, plots as inline SVG, images inside.

Every text of the dataset (tasks, joint and view names) is escaped: it may come from anywhere.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

from hpt_ros.dataset.quality.checks import CHECKS, FROZEN_S, IDLE_RATIO, SEVERITIES, Finding, Quality
from hpt_ros.dataset.quality.measure import EpisodeQuality
from hpt_ros.dataset.quality.plots import draw_speed, draw_values, histogram
from hpt_ros.dataset.quality.style import STYLE

# Beyond this many, a list of episodes or findings is cut, and states so; the JSON has all.
MOST_ROWS = 2000
MOST_LISTED = 12
# Images of about 2.5 kB each; episodes with findings come first.
MOST_IMAGES = 600

# JPEG images of an episode's view: at its start, middle and end.
Thumbnails = Mapping[tuple[int, str], Sequence[bytes]]

_VERDICTS = {
    "error": "Fix the errors before training: they teach the policy something wrong.",
    "warning": "Usable, but look at the warnings: they cost quality.",
    "note": "Good to train on; a person should look at the notes.",
    "": "Nothing found: good to train on.",
}


def page(quality: Quality, where: str, thumbnails: Thumbnails | None = None) -> str:
    """Return the page's text.

    Args:
        quality: what was found.
        where: the dataset's folder, for the heading.
        thumbnails: images by episode and view; none are shown if left out.
    """
    title = f"Quality of {where}"
    length_s = sum(entry.duration_s for entry in quality.episodes)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f'<p class="quiet">Robot {escape(quality.robot)}, {len(quality.episodes)} episodes, {length_s / 60:.1f} min at '
        f"{quality.tick_hz:g} Hz</p>",
        _verdict(quality),
        _findings_by_check(quality),
        "<h2>Episodes at a glance</h2>",
        '<p class="quiet">How many episodes have which value. The red line is where a finding begins or, for '
        "acceleration, the limit.</p>",
        _plots(quality.episodes),
        "<h2>Dimensions</h2>",
        '<p class="quiet">Histogram over the values that occur; the bar under it shows where they lie between the '
        "limits.</p>",
        _dimensions(quality),
        "<h2>Every episode</h2>",
        '<p class="quiet">Speed over time as a fraction of the velocity limit (red line); images from the start, the '
        "middle and the end.</p>",
        _cards(quality, thumbnails or {}),
        _all_findings(quality),
        _all_figures(quality),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _verdict(quality: Quality) -> str:
    worst = next((severity for severity in SEVERITIES if quality.count(severity)), "")
    flagged = len({finding.episode for finding in quality.findings if finding.episode >= 0})
    tiles = [(str(quality.count(severity)), f"{severity}s", severity) for severity in SEVERITIES]
    tiles.append((f"{flagged} of {len(quality.episodes)}", "episodes with findings", ""))
    shown = "".join(
        f'<div class="tile {kind if number != "0" else ""}"><b>{number}</b>{label}</div>'
        for number, label, kind in tiles
    )
    return f'<p class="verdict {worst or "good"}">{_VERDICTS[worst]}</p><div class="tiles">{shown}</div>'


def _table(head: Sequence[tuple[str, bool]], rows: Sequence[str], kind: str = "") -> str:
    """Return a table from its headings (text, is a number) and rows of cells.

    Where it is too wide it scrolls, or its cells stand below one another if `kind` is " stack".
    """
    cells = "".join(f"<th{' class=n' if number else ''}>{escape(text)}</th>" for text, number in head)
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="scroll{kind}"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _text(value: str) -> str:
    return f"<td>{escape(value)}</td>"


def _number(value: str, bad: bool = False) -> str:
    return f'<td class="n{" bad" if bad else ""}">{escape(value)}</td>'


def _badge(key: str, text: str) -> str:
    return f'<span class="badge {CHECKS[key].severity}">{escape(text)}</span>'


def _findings_by_check(quality: Quality) -> str:
    """Return what was found and what to do about it, the worst first; what was not found in one line."""
    rows = []
    for severity in SEVERITIES:
        for key, check in CHECKS.items():
            if check.severity == severity and (found := quality.of(key)):
                rows.append(
                    f"<td>{_badge(key, severity)}</td><td><b>{escape(check.title)}</b></td>{_number(str(len(found)))}"
                    f"<td>{_places(found)}</td>{_text(check.remedy)}"
                )
    head = [("", False), ("found", False), ("times", True), ("where", False), ("what to do", False)]
    left = quality.not_assessed
    fine = ", ".join(check.title for key, check in CHECKS.items() if not quality.of(key) and key not in left)
    table = _table(head, rows, " stack") if rows else ""
    return (
        f"<h2>What was found</h2>{table}"
        + (f'<p class="quiet"><span class="badge good">not found</span> {escape(fine)}</p>' if fine else "")
        + "".join(
            f'<p class="quiet"><span class="badge note">not assessed</span> {escape(f"{CHECKS[key].title}: {why}")}</p>'
            for key, why in left.items()
        )
    )


def _places(found: Sequence[Finding]) -> str:
    episodes = sorted({finding.episode for finding in found if finding.episode >= 0})
    if not episodes:
        subjects = list(dict.fromkeys(finding.subject for finding in found))
        return escape(", ".join(subjects[:MOST_LISTED]) + _more(len(subjects)))
    links = ", ".join(f'<a href="#e{index}">{index}</a>' for index in episodes[:MOST_LISTED])
    return f"episodes {links}{_more(len(episodes))}"


def _more(count: int) -> str:
    return f" and {count - MOST_LISTED} more" if count > MOST_LISTED else ""


def _cut(count: int) -> str:
    return f"<p>The first {MOST_ROWS} of {count}; the JSON has all.</p>" if count > MOST_ROWS else ""


def _plots(episodes: Sequence[EpisodeQuality]) -> str:
    entries: tuple[tuple[str, Callable[[EpisodeQuality], float], float | None], ...] = (
        ("duration, s", lambda e: e.duration_s, None),
        ("idle ratio", lambda e: e.idle_ratio, IDLE_RATIO),
        ("peak velocity / limit", lambda e: e.peak_velocity, 1.0),
        ("peak acceleration / limit", lambda e: e.peak_acceleration, 1.0),
        ("peak jerk / turning the acceleration around in a tick", lambda e: e.peak_jerk, 1.0),
        ("path, joint ranges", lambda e: e.path, None),
        ("smoothness (log dimensionless jerk)", lambda e: e.smoothness or 0.0, None),
    )
    figures = []
    for title, value, limit in entries:
        values = np.array([value(entry) for entry in episodes])
        figures.append(
            f'<figure class="card"><figcaption>{title}</figcaption>{histogram(values, limit, title)}</figure>'
        )
    return f'<div class="grid wide">{"".join(figures)}</div>'


def _dimensions(quality: Quality) -> str:
    bad: dict[str, list[str]] = {}
    for finding in quality.findings:
        if finding.check in ("constant", "offset"):
            bad.setdefault(finding.subject, []).append(finding.check)
    cards = []
    for entry in quality.dimensions:
        label = f"{entry.kind} {entry.name}"
        badges = "".join(_badge(key, CHECKS[key].title) for key in bad.get(label, ()))
        lines = [("range", f"{entry.minimum:.3g} to {entry.maximum:.3g}")]
        if entry.lower is not None and entry.upper is not None:
            lines.append(("limits", f"{entry.lower:.3g} to {entry.upper:.3g}"))
        lines += [("mean", f"{entry.mean:.4g}"), ("variance", f"{entry.variance:.3g}")]
        if entry.rest_offset is not None:
            lines.append(("state - command at rest", f"{entry.rest_offset:+.2g}"))
        facts = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in lines)
        cards.append(
            f'<div class="card"><h3><small>{escape(entry.kind)}</small> {escape(entry.name)}</h3>{badges}'
            f"{draw_values(entry, escape(f'histogram of {label}'))}<dl>{facts}</dl></div>"
        )
    return f'<div class="grid wide">{"".join(cards)}</div>'


def _cards(quality: Quality, thumbnails: Thumbnails) -> str:
    """Return a card for each episode; those without a finding can be hidden."""
    found: dict[int, list[Finding]] = {}
    for finding in quality.findings:
        found.setdefault(finding.episode, []).append(finding)
    shown = quality.episodes[:MOST_ROWS]
    strips = _strips([entry.index for entry in shown], found, thumbnails)
    cards = "".join(_card(entry, found.get(entry.index, []), strips.get(entry.index, "")) for entry in shown)
    left_out = any((entry.index not in strips) for entry in shown) and bool(thumbnails)
    note = f'<p class="quiet">Images of the first {MOST_IMAGES} views only, to keep the page small.</p>'
    return (
        '<input type="checkbox" id="only"><label for="only"> only episodes with findings</label>'
        f'{note if left_out else ""}<div class="grid" id="episodes">{cards}</div>{_cut(len(quality.episodes))}'
    )


def _strips(
    episodes: Sequence[int], found: Mapping[int, Sequence[Finding]], thumbnails: Thumbnails
) -> dict[int, str]:
    """Return images of as many episodes as fit: three of the view that a finding is about, else one of each."""
    views: dict[int, list[str]] = {}
    for episode, view in thumbnails:
        views.setdefault(episode, []).append(view)
    result: dict[int, str] = {}
    left = MOST_IMAGES
    for episode in sorted(episodes, key=lambda index: (index not in found, index)):
        names = views.get(episode, [])
        blamed = [finding.subject for finding in found.get(episode, ()) if finding.subject in names]
        if episode in found and names:
            view = (blamed or names)[0]
            chosen = [(view, image) for image in thumbnails[episode, view]]
        else:
            chosen = [
                (view, thumbnails[episode, view][len(thumbnails[episode, view]) // 2]) for view in names
            ]
        if not chosen or len(chosen) > left:
            continue
        left -= len(chosen)
        result[episode] = "".join(_image(image, view) for view, image in chosen)
    return result


def _image(jpeg: bytes, view: str) -> str:
    name = escape(f"view {view}")
    return f'<img alt="{name}" title="{name}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'


def _card(entry: EpisodeQuality, found: Sequence[Finding], images: str) -> str:
    badges = "".join(
        f"<li>{_badge(finding.check, CHECKS[finding.check].title)} {escape(finding.text)}</li>"
        for finding in found
    )
    label = f"speed of episode {entry.index}"
    strip = f'<div class="strip">{images}</div>' if images else ""
    return (
        f'<div class="card{"" if found else " fine"}" id="e{entry.index}">'
        f"<h3>Episode {entry.index} <small>{entry.duration_s:.1f} s, idle {_percent(entry.idle_ratio)}</small></h3>"
        f"{strip}{draw_speed(entry.speed_profile, label)}"
        f'<p class="task">{escape(_short(entry.task))}</p>{f"<ul>{badges}</ul>" if badges else ""}</div>'
    )


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _all_findings(quality: Quality) -> str:
    rows = [
        f"<td>{_badge(finding.check, CHECKS[finding.check].severity)}</td>"
        + _text(CHECKS[finding.check].title)
        + _number(str(finding.episode) if finding.episode >= 0 else "all")
        + _text(finding.text)
        for finding in quality.findings[:MOST_ROWS]
    ]
    if not rows:
        return ""
    table = _table([("", False), ("check", False), ("episode", True), ("what", False)], rows)
    count = len(quality.findings)
    return f"<details><summary>All findings ({count})</summary>{table}{_cut(count)}</details>"


def _all_figures(quality: Quality) -> str:
    found: dict[int, set[str]] = {}
    for finding in quality.findings:
        found.setdefault(finding.episode, set()).add(finding.check)
    rows = []
    for entry in quality.episodes[:MOST_ROWS]:
        bad = found.get(entry.index, set())
        frozen_s = max([*entry.frozen_s.values(), 0.0])
        dark = max([*entry.dark_ratio.values(), 0.0])
        dropped = max([*entry.dropped_ratio.values(), 0.0])
        oldest_s = max([*entry.age_s.values(), 0.0])
        rows.append(
            _number(str(entry.index), bool(bad))
            + _number(f"{entry.duration_s:.1f}")
            + _number(_percent(entry.idle_ratio), bool(bad & {"idle", "idle_edge"}))
            + _number(_percent(entry.peak_velocity), "velocity" in bad)
            + _number(_percent(entry.peak_acceleration))
            + _number(_percent(entry.peak_jerk), "jerk" in bad)
            + _number("" if entry.smoothness is None else f"{entry.smoothness:.1f}", "smoothness" in bad)
            + _number(_percent(entry.limit_ratio), "limit" in bad)
            + _number(f"{frozen_s:.1f}", frozen_s >= FROZEN_S)
            + _number(_percent(dark), "dark" in bad)
            + _number(_percent(dropped), "dropped" in bad)
            + _number(f"{oldest_s * 1e3:.0f}" if entry.age_s else "", "skew" in bad)
        )
    words = (
        "episode",
        "duration, s",
        "idle",
        "velocity",
        "acceleration",
        "jerk",
        "smoothness",
        "at limits",
        "frozen, s",
        "dark",
    )
    table = _table([(word, True) for word in (*words, "ticks lost", "oldest, ms")], rows)
    note = (
        '<p class="quiet">Velocity and acceleration: peak as a fraction of the limit. Jerk: 100 % turns the full '
        "acceleration around within one tick. Frozen: longest time that an image stays the same while the arm moves. "
        "Oldest: mean age of the oldest stream's sample at a tick.</p>"
    )
    return f"<details><summary>Figures of every episode</summary>{note}{table}{_cut(len(quality.episodes))}</details>"


def _percent(ratio: float) -> str:
    # A small ratio is not "0 %": that would read as none.
    if ratio and ratio < 0.01:
        return "< 1 %"
    return f"{100 * ratio:.0f} %" if math.isfinite(ratio) else "not finite"
