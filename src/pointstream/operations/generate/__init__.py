"""A seeded, believable stream of a chain of shops, of any size, in constant memory.

`plan` is what to generate and what comes out, `story` the slots of time and what fills each;
`members` are the honest ones, `fraud` the others, and `events` what both are told with. Nothing in
here reads a clock or rolls any dice but the plan's.
"""

from pointstream.operations.generate.plan import Generated, StreamPlan, member_name
from pointstream.operations.generate.story import generate

__all__ = ["Generated", "StreamPlan", "generate", "member_name"]
