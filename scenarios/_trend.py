"""Does it keep growing? A rule that neither a spike, nor a warm-up, nor a plateau can fool.

The first quarter of a series is warm-up, and left out. The rest is cut into six blocks of as many points, and each has
its median. Something keeps growing if each median is over the one before it, and the last is over the first by more
than what is allowed. By chance alone, six medians are in that order once in 720 times.
"""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass

_WARM_UP = 0.25
_BLOCKS = 6
# Points from which a trend can be told: five in each block, and the warm-up.
ENOUGH = 40
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One quantity over time.

    unit: what its values are in.
    points: seconds since the beginning, and values.
    slack, share: the growth that is allowed: so much, or such a part of the first median, whichever is more.
    falling: whether it is bad to fall instead. *share* is then the part that has to be lost.
    shortest_s: a shorter series proves nothing, as of what depends on who else is at work on the machine.
    """

    name: str
    unit: str
    points: tuple[tuple[float, float], ...] = ()
    slack: float = 0.0
    share: float = 0.0
    falling: bool = False
    shortest_s: float = 0.0

    def medians(self) -> list[float]:
        """Return the blocks' medians; none if there are too few points to tell."""
        if len(self.points) < ENOUGH or self.points[-1][0] - self.points[0][0] < self.shortest_s:
            return []
        values = [value for _, value in self.points[int(len(self.points) * _WARM_UP) :]]
        cuts = [index * len(values) // _BLOCKS for index in range(_BLOCKS + 1)]
        return [statistics.median(values[begin:end]) for begin, end in itertools.pairwise(cuts)]

    def keeps_going(self) -> str | None:
        """Return what keeps growing, or falling, in one sentence; ``None`` if nothing does, or nobody can tell."""
        medians = self.medians()
        if not medians:
            return None
        steps = [later - earlier for earlier, later in itertools.pairwise(medians)]
        if self.falling:
            steps = [-step for step in steps]
        moved = abs(medians[-1] - medians[0])
        if min(steps) <= 0 or moved <= max(self.slack, self.share * medians[0]):
            return None
        how = "falling" if self.falling else "growing"
        seconds = self.points[-1][0] - self.points[0][0]
        told = " → ".join(f"{median:,.0f}" for median in medians)
        return f"{self.name}, {how} all the time: {told} {self.unit}, in {seconds:.0f} s"

    def summary(self) -> str:
        """Return the series in one line."""
        if not self.points:
            return f"{self.name}: not to be had on this system"
        values = [value for _, value in self.points]
        told = f"first {values[0]:,.0f}, last {values[-1]:,.0f}, from {min(values):,.0f} to {max(values):,.0f}"
        few = "" if self.medians() else ", too short to tell a trend"
        return f"{self.name}: {told} {self.unit} {_sparkline(values)}{few}"


def _sparkline(values: list[float], width: int = 16) -> str:
    width = min(width, len(values))
    cut = [values[index * len(values) // width : (index + 1) * len(values) // width] for index in range(width)]
    means = [statistics.fmean(part) for part in cut]
    least, most = min(means), max(means)
    return "".join(_BARS[int((mean - least) / (most - least) * 7) if most > least else 0] for mean in means)
