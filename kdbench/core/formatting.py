"""Format numbers, times and settings for sentences."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable


def count(number: int, noun: str) -> str:
    """Format a count: `1 run`, `2 runs`, `1,000 runs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def count_range(numbers: Collection[int], noun: str) -> str:
    """Format counts that may differ: `3 seeds`, `2 to 3 seeds`."""
    low, high = min(numbers), max(numbers)
    return count(high, noun) if low == high else f"{low:,} to {count(high, noun)}"


def sentence(text: str) -> str:
    """Capitalise the first letter; the others stay as they are."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """Format a duration: `8 s`, `3 min`, `2.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(number: float) -> str:
    """Format a number of bytes: `0.4 kB`, `12 MB`, `1.5 GB`."""
    power, unit = (3, "GB") if number >= 999.5e6 else (2, "MB") if number >= 999.5e3 else (1, "kB")
    value = number / 1000**power
    return f"{value:,.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"


def ago(moment: float) -> str:
    """Format the time since a moment, `3 min ago`; "" for 0."""
    return f"{duration(max(0.0, time.time() - moment))} ago" if moment else ""


def seed_list(seeds: Iterable[int]) -> str:
    """Format seeds as `--seeds` takes them: `0-2,5`."""
    parts: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ",".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def signed(number: float) -> str:
    """Format a difference with its sign and one digit; what rounds to zero has no sign."""
    return "0.0" if round(number, 1) == 0 else f"{number:+.1f}"


def interval_end(number: float) -> str:
    """Format an end of an interval; one that rounds to 0.0 has a second digit, so that its side of zero is seen."""
    return f"{number:+.2f}" if 0 < abs(number) < 0.05 else signed(number)


def p_value(p: float) -> str:
    """Format a p-value with three digits."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def value(item: object) -> str:
    """Format a setting as a user would type it."""
    if isinstance(item, bool):
        return str(item).lower()
    return f"{item:g}" if isinstance(item, float) else str(item)
