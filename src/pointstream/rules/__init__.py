"""Rule sets compiled to plain callables, and the calendar of a programme.

What lives here answers "what is this event worth, and how long do these points live?" from the
event and the rule set alone. It may not know accounts, lots or state, and it may not read a clock:
the moment at which a rule is asked is an argument.
"""

from __future__ import annotations

from pointstream.rules.calendar import Calendar
from pointstream.rules.compile import (
    CompiledProgramme,
    CompiledWallet,
    compile_programme,
    compile_rule_set,
)
from pointstream.rules.index import RuleTable
from pointstream.rules.model import (
    ActivityReward,
    CheckInReward,
    CompiledRuleSet,
    MemberFacts,
    OrderReward,
    ReferralReward,
    Reward,
    Scoped,
)
from pointstream.rules.tables import RuleBook, RuleTables, Version

__all__ = [
    "ActivityReward",
    "Calendar",
    "CheckInReward",
    "CompiledProgramme",
    "CompiledRuleSet",
    "CompiledWallet",
    "MemberFacts",
    "OrderReward",
    "ReferralReward",
    "Reward",
    "RuleBook",
    "RuleTable",
    "RuleTables",
    "Scoped",
    "Version",
    "compile_programme",
    "compile_rule_set",
]
