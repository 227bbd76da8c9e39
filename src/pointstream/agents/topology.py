"""What feeds what: the job as a graph, for people."""

from dataclasses import dataclass
from typing import Any

from pointstream.agents.processor import INPUTS, TICKS
from pointstream.contracts.topics import DEFAULT_PREFIX, topic_specs

__all__ = ["Topology", "topology"]

#: What a partition task sends, by suffix, and what it is to the reader of the graph.
OUTPUTS = {
    "balance-changes": "every ledger entry",
    "crm-sync": "latest standing per member and transaction",
    "mall-sync": "latest spendable position per member and transaction",
    "command-results": "the answer to each command",
    "dead-letters": "what could not be taken",
    "tier-changes": "every change of a tier",
    "reminders": "what will happen unless the member acts",
    "fraud-flags": "what a second person must look at",
    "shadow-diffs": "where a candidate in shadow differs from the rules in force",
    "internal.messages": "to owners of other partitions",
    "internal.changelog": "the state, key by key",
    "internal.journal": "what each transaction took, in which order",
}


@dataclass(frozen=True, slots=True)
class Topology:
    """The inputs with their agents, the task, and the outputs."""

    #: (topic, agent)
    inputs: tuple[tuple[str, str], ...]
    #: (topic, what it carries)
    outputs: tuple[tuple[str, str], ...]
    partitions: int

    def text(self) -> str:
        """The graph for a terminal."""
        width = max(len(topic) for topic, _ in self.inputs)
        lines = [f"{topic:<{width}} -> agent {agent}" for topic, agent in self.inputs]
        lines += [
            "",
            f"agents -> partition task (one of {self.partitions}): fence, position, restore, then",
            "          one transaction per batch: effects, changelog, journal, input positions",
            "",
        ]
        width = max(len(topic) for topic, _ in self.outputs)
        lines += [f"partition task -> {topic:<{width}}  {what}" for topic, what in self.outputs]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The graph for programs: inputs, outputs, and how many partition tasks lie between."""
        return {
            "partitions": self.partitions,
            "inputs": [{"topic": topic, "agent": agent} for topic, agent in self.inputs],
            "outputs": [{"topic": topic, "carries": what} for topic, what in self.outputs],
        }

    def mermaid(self) -> str:
        """The graph for a page that renders Mermaid."""
        lines = ["flowchart LR"]
        for topic, agent in self.inputs:
            name = agent.replace("-", "_")
            lines.append(f'    in_{name}[("{topic}")] --> agent_{name}["agent {agent}"]')
            lines.append(f"    agent_{name} --> task")
        lines.append(f'    task{{{{"partition task x {self.partitions}"}}}}')
        lines.append('    task <--> store[("RocksDB")]')
        for topic, _ in self.outputs:
            name = topic.replace(".", "_").replace("-", "_")
            lines.append(f'    task --> out_{name}[("{topic}")]')
        return "\n".join(lines)


def topology(prefix: str = DEFAULT_PREFIX, partitions: int = 12) -> Topology:
    """The job's graph. `partitions` is the number of tasks over all workers."""
    known = {spec.suffix for spec in topic_specs(prefix)}
    assert known.issuperset(OUTPUTS)
    inputs = tuple(
        (prefix + suffix, suffix.removeprefix("internal.")) for suffix in (*INPUTS, TICKS)
    )
    return Topology(
        inputs=inputs,
        outputs=tuple((prefix + suffix, what) for suffix, what in OUTPUTS.items()),
        partitions=partitions,
    )
