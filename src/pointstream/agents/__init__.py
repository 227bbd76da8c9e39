"""The job put together: which topic feeds which decision, and where its effects go.

`app.py` is the one composition root: it alone knows the engine and the ledger both. The
agents are thin, `processor.py` turns records into decisions and decisions into records. No rule
about points lives here, and nothing of the exactly-once protocol.
"""

from pointstream.agents.app import CannotStart, build_app, run_worker
from pointstream.agents.processor import PointsProcessor
from pointstream.agents.topology import Topology, topology

__all__ = ["CannotStart", "PointsProcessor", "Topology", "build_app", "run_worker", "topology"]
