# SPDX-License-Identifier: Apache-2.0
"""Lossless packet rates as a bar chart: FOLDER/packet_rate.json -> FOLDER/packet_rate.png.

Runs in the environment of bench/plot.sh: the standard library and matplotlib only.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

FIGURE = re.compile(r"lossless, (\d+) bytes, ([\d,]+) entries")
SIZES = (64, 1400)


def main() -> None:
    folder = Path(sys.argv[1])
    result: dict[str, Any] = json.loads((folder / "packet_rate.json").read_text())
    found: dict[int, dict[str, dict[int, float]]] = {size: {} for size in SIZES}
    for row in result["rows"]:
        match = FIGURE.fullmatch(row["figure"])
        if match:
            size, entries = int(match[1]), int(match[2].replace(",", ""))
            found[size].setdefault(row["subject"], {})[entries] = row["value"] / 1000
    # A number of entries has the same colour everywhere.
    numbers = sorted({n for rates in found.values() for each in rates.values() for n in each})
    colours = {n: f"C{i}" for i, n in enumerate(numbers)}
    figure, axes = plt.subplots(1, len(SIZES), figsize=(11, 4.2), sharey=True)
    for axis, size in zip(axes, SIZES, strict=True):
        subjects = list(found[size])
        columns = sorted({n for rates in found[size].values() for n in rates})
        height = 0.8 / max(1, len(columns))
        for i, entries in enumerate(columns):
            places = [n + (i - (len(columns) - 1) / 2) * height for n in range(len(subjects))]
            rates = [found[size][subject].get(entries, 0) for subject in subjects]
            axis.barh(places, rates, height, color=colours[entries], label=f"{entries:,}")
        axis.set_yticks(range(len(subjects)), subjects)
        axis.set_title(f"frames of {size} bytes")
        axis.set_xlabel("thousand packets per second without loss")
        axis.grid(axis="x", alpha=0.4)
    axes[0].invert_yaxis()
    axes[0].legend(title="entries", fontsize="small")
    machine = result["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores, Linux {machine['kernel']}"
    figure.suptitle(f"{where}, {result['date'][:10]}", fontsize="small")
    figure.tight_layout()
    path = folder / "packet_rate.png"
    figure.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main()
