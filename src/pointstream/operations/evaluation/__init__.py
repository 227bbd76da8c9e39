"""How good the detectors are, measured on traffic of which the truth is known.

The generated stream labels what is part of a fraud. Here the production job takes it, partition by
partition; a reviewer who knows the truth decides on every flag at the end; and what was
raised, when, and what it saved is set against the labels. Nothing here touches Kafka or a clock.
"""

from __future__ import annotations

from pointstream.operations.evaluation.laboratory import Laboratory
from pointstream.operations.evaluation.page import page
from pointstream.operations.evaluation.score import DetectorScore, Evaluation, KindScore
from pointstream.operations.evaluation.trial import PARTITIONS, evaluate

__all__ = [
    "PARTITIONS",
    "DetectorScore",
    "Evaluation",
    "KindScore",
    "Laboratory",
    "evaluate",
    "page",
]
