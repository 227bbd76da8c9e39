"""Draws the README's pictures anew: `python -m deploy.pictures`, beside `make observe`.

What they show is what that Prometheus has just now. Debian's Prometheus serves its pages below
/classic; they are drawn by a Chromium without a screen, with a profile of its own that is thrown
away.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlencode

_IMAGES = Path(__file__).parent / "images"
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # Pages load what they show; this much of their own time may pass.
    *("--hide-scrollbars", "--virtual-time-budget=15000"),
)
_GRAPHS = (
    "sum by (topic) (rate(pointstream_events_total[1m]))",
    'sum by (instance) (pointstream_partition_phase{phase="running"})',
)
_SPAN = "10m"


def main(address: str = "http://127.0.0.1:9090") -> None:
    """Draw both; `address` is Prometheus'."""
    asked: dict[str, str] = {}
    for nth, expr in enumerate(_GRAPHS):
        asked |= {f"g{nth}.expr": expr, f"g{nth}.tab": "0", f"g{nth}.range_input": _SPAN}
    _draw(f"{address}/classic/graph?{urlencode(asked)}", _IMAGES / "graphs.png", height=1750)
    _draw(f"{address}/classic/alerts", _IMAGES / "alerts.png", height=1260)


def _draw(page: str, file: Path, *, height: int) -> None:
    file.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *("chromium", *_FLAGS, f"--user-data-dir={profile}"),
                *(f"--window-size=1200,{height}", f"--screenshot={file}", page),
            ],
            check=True,
            timeout=120,
            stderr=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
