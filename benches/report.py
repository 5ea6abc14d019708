"""Figures of all rounds as a table, as JSON and as a plot."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from html import escape

Rounds = Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]
"""By scenario, by pair: the figures of each round."""


def rows(rounds: Rounds) -> Iterator[tuple[str, str, str, list[float], float]]:
    """Yield scenario, figure, pair, values and the ratio of medians to the first pair with it."""
    for scenario, pairs in rounds.items():
        for figure in dict.fromkeys(
            figure for measured in pairs.values() for figure in measured[0]
        ):
            having = {pair: each for pair, each in pairs.items() if figure in each[0]}
            middle = statistics.median(values[figure] for values in next(iter(having.values())))
            for pair, measured in having.items():
                values = [round_[figure] for round_ in measured]
                ratio = statistics.median(values) / middle if middle else float("nan")
                yield scenario, figure, pair, values, ratio


def table(rounds: Rounds) -> str:
    """Return a Markdown table: median, lowest to highest, ratio to the scenario's first pair."""
    lines = [
        "| scenario | figure | server <- client | median | spread | ratio |",
        "|---|---|---|--:|--:|--:|",
    ]
    last = ("", "")
    for scenario, figure, pair, values, ratio in rows(rounds):
        head = ("", "") if (scenario, figure) == last else (scenario, figure)
        last = (scenario, figure)
        spread = f"{min(values):.3g} to {max(values):.3g}"
        cells = (*head, pair, f"{statistics.median(values):.3g}", spread, f"{ratio:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


COLOURS = ("#9aa5b1", "#1f6feb", "#54aeff", "#8250df", "#d4a72c", "#cf222e")
BAR, GAP, LEFT, WIDTH = 13, 14, 300, 420


def plot(rounds: Rounds, unit: str) -> str:
    """Return an SVG: a bar for the median of each figure whose name ends with `unit`, with a line
    from the lowest to the highest value; the length is the ratio to the scenario's first pair."""
    bars = [row for row in rows(rounds) if row[1].endswith(f"({unit})")]
    # The first pair's bar is one long, whatever the others reach.
    longest = max((max(values) * ratio / statistics.median(values) for *_, values, ratio in bars))
    scale = WIDTH / longest
    colours: dict[str, str] = {}
    parts: list[str] = []
    y, last = GAP, ("", "")
    for scenario, figure, pair, values, ratio in bars:
        if (scenario, figure) != last:
            y += GAP
            title = escape(f"{scenario}: {figure}")
            parts.append(f'<text x="{LEFT - 8}" y="{y + 10}" text-anchor="end">{title}</text>')
            last = (scenario, figure)
        colour = colours.setdefault(pair, COLOURS[len(colours) % len(COLOURS)])
        middle = statistics.median(values)
        low, high = (LEFT + value * ratio / middle * scale for value in (min(values), max(values)))
        length = ratio * scale
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{colour}"/>'
            f'<path d="M{low:.1f} {y + 5}H{high:.1f}" stroke="#24292f"/>'
            f'<text x="{max(high, LEFT + length) + 4:.1f}" y="{y + 10}">'
            f"{middle:.3g} (x{ratio:.2f})</text>"
        )
        y += BAR
    for pair, colour in colours.items():
        y += GAP
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="10" height="10" fill="{colour}"/>'
            f'<text x="{LEFT + 16}" y="{y + 9}">{escape(pair)}</text>'
        )
    size = f'width="{LEFT + WIDTH + 110}" height="{y + 2 * GAP}"'
    style = 'font-family="sans-serif" font-size="11" fill="#24292f"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>'
        f'<rect width="100%" height="100%" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )
