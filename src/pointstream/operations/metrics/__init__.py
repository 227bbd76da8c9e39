"""What a worker counts and measures, as Prometheus reads it.

`catalogue` says what there is, `registry` keeps it, `counts` is what the job hands in with each
batch, `faults` is what outlives the process.
"""

from pointstream.operations.metrics.catalogue import CATALOGUE, Kind, Metric, table
from pointstream.operations.metrics.counts import Counts
from pointstream.operations.metrics.registry import Metrics

__all__ = ["CATALOGUE", "Counts", "Kind", "Metric", "Metrics", "table"]
