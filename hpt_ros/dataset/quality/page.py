# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Draws a quality report as one HTML page that needs nothing else: no script, plots as inline SVG, images inside.

Every text of the dataset (tasks, joint and view names) is escaped by the template: it may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from hpt_ros.dataset.quality.findings import CHECKS, FROZEN_S, IDLE_RATIO, SEVERITIES, Finding, Quality
from hpt_ros.dataset.quality.measure import EpisodeQuality
from hpt_ros.dataset.quality.plots import draw_speed, draw_values
from hpt_ros.report.charts import draw_histogram
from hpt_ros.report.images import inline
from hpt_ros.report.page import percent, render

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
_COLUMNS = (
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
    "ticks lost",
    "oldest, ms",
)


def page(quality: Quality, where: str, thumbnails: Thumbnails | None = None) -> str:
    """Return the page's text.

    Args:
        quality: what was found.
        where: the dataset's folder, for the heading.
        thumbnails: images by episode and view; none are shown if left out.
    """
    worst = next((severity for severity in SEVERITIES if quality.count(severity)), "")
    found: dict[int, list[Finding]] = {}
    for finding in quality.findings:
        found.setdefault(finding.episode, []).append(finding)
    shown = quality.episodes[:MOST_ROWS]
    strips = _strips([entry.index for entry in shown], found, thumbnails or {})
    left = quality.not_assessed
    return render(
        "hpt_ros.dataset.quality",
        "quality.html",
        title=f"Quality of {where}",
        quality=quality,
        minutes=sum(entry.duration_s for entry in quality.episodes) / 60,
        worst=worst,
        verdict=_VERDICTS[worst],
        severities=SEVERITIES,
        checks=CHECKS,
        flagged=len({finding.episode for finding in quality.findings if finding.episode >= 0}),
        groups=_groups(quality),
        fine=[check.title for key, check in CHECKS.items() if not quality.of(key) and key not in left],
        histograms=_histograms(quality.episodes),
        dimensions=_dimensions(quality),
        cards=[
            {
                "entry": entry,
                "found": found.get(entry.index, []),
                "images": strips.get(entry.index, []),
                "speed": draw_speed(entry.speed_profile, f"speed of episode {entry.index}"),
                "task": entry.task if len(entry.task) <= 80 else f"{entry.task[:77]}...",
            }
            for entry in shown
        ],
        images_left_out=bool(thumbnails) and any(entry.index not in strips for entry in shown),
        columns=_COLUMNS,
        rows=[_row(entry, {finding.check for finding in found.get(entry.index, ())}) for entry in shown],
        most_rows=MOST_ROWS,
        most_listed=MOST_LISTED,
        most_images=MOST_IMAGES,
    )


def _groups(quality: Quality) -> list[dict[str, Any]]:
    """Return what was found by check, the worst first."""
    groups = []
    for severity in SEVERITIES:
        for key, check in CHECKS.items():
            if check.severity != severity or not (found := quality.of(key)):
                continue
            episodes = sorted({finding.episode for finding in found if finding.episode >= 0})
            subjects = list(dict.fromkeys(finding.subject for finding in found))
            count = len(episodes or subjects)
            more = f" and {count - MOST_LISTED} more" if count > MOST_LISTED else ""
            groups.append(
                {"key": key, "count": len(found), "episodes": episodes, "subjects": subjects, "more": more}
            )
    return groups


def _histograms(episodes: Sequence[EpisodeQuality]) -> list[tuple[str, str]]:
    entries: tuple[tuple[str, Callable[[EpisodeQuality], float], float | None], ...] = (
        ("duration, s", lambda e: e.duration_s, None),
        ("idle ratio", lambda e: e.idle_ratio, IDLE_RATIO),
        ("peak velocity / limit", lambda e: e.peak_velocity, 1.0),
        ("peak acceleration / limit", lambda e: e.peak_acceleration, 1.0),
        ("peak jerk / turning the acceleration around in a tick", lambda e: e.peak_jerk, 1.0),
        ("path, joint ranges", lambda e: e.path, None),
        ("smoothness (log dimensionless jerk)", lambda e: e.smoothness or 0.0, None),
    )
    charts = []
    for title, value, limit in entries:
        values = np.array([value(entry) for entry in episodes])
        ends = {} if limit is None else {"low": min(float(values.min()), 0.0), "marks": (limit,)}
        charts.append((title, draw_histogram(values, label=title, **ends)))  # type: ignore[arg-type]
    return charts


def _dimensions(quality: Quality) -> list[dict[str, Any]]:
    bad: dict[str, list[str]] = {}
    for finding in quality.findings:
        if finding.check in ("constant", "offset"):
            bad.setdefault(finding.subject, []).append(finding.check)
    cards = []
    for entry in quality.dimensions:
        label = f"{entry.kind} {entry.name}"
        facts = [("range", f"{entry.minimum:.3g} to {entry.maximum:.3g}")]
        if entry.lower is not None and entry.upper is not None:
            facts.append(("limits", f"{entry.lower:.3g} to {entry.upper:.3g}"))
        facts += [("mean", f"{entry.mean:.4g}"), ("variance", f"{entry.variance:.3g}")]
        if entry.rest_offset is not None:
            facts.append(("state - command at rest", f"{entry.rest_offset:+.2g}"))
        cards.append(
            {
                "kind": entry.kind,
                "name": entry.name,
                "bad": bad.get(label, ()),
                "chart": draw_values(entry, f"histogram of {label}"),
                "facts": facts,
            }
        )
    return cards


def _strips(
    episodes: Sequence[int], found: Mapping[int, Sequence[Finding]], thumbnails: Thumbnails
) -> dict[int, list[tuple[str, str]]]:
    """Return images of as many episodes as fit: three of the view that a finding is about, else one of each."""
    views: dict[int, list[str]] = {}
    for episode, view in thumbnails:
        views.setdefault(episode, []).append(view)
    result: dict[int, list[tuple[str, str]]] = {}
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
        result[episode] = [(view, inline(image)) for view, image in chosen]
    return result


def _row(entry: EpisodeQuality, bad: set[str]) -> list[tuple[str, bool]]:
    frozen_s = max([*entry.frozen_s.values(), 0.0])
    dark = max([*entry.dark_ratio.values(), 0.0])
    dropped = max([*entry.dropped_ratio.values(), 0.0])
    oldest_s = max([*entry.age_s.values(), 0.0])
    return [
        (str(entry.index), bool(bad)),
        (f"{entry.duration_s:.1f}", False),
        (percent(entry.idle_ratio), bool(bad & {"idle", "idle_edge"})),
        (percent(entry.peak_velocity), "velocity" in bad),
        (percent(entry.peak_acceleration), False),
        (percent(entry.peak_jerk), "jerk" in bad),
        ("" if entry.smoothness is None else f"{entry.smoothness:.1f}", "smoothness" in bad),
        (percent(entry.limit_ratio), "limit" in bad),
        (f"{frozen_s:.1f}", frozen_s >= FROZEN_S),
        (percent(dark), "dark" in bad),
        (percent(dropped), "dropped" in bad),
        (f"{oldest_s * 1e3:.0f}" if entry.age_s else "", "skew" in bad),
    ]
