# SPDX-License-Identifier: Apache-2.0
"""Make `bench` and `topo` importable whatever folder pytest is started in."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
