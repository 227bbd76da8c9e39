"""The keys of the state."""

from __future__ import annotations

import re
from collections import Counter

from pointstream.ledger import state


def test_no_two_kinds_of_key_share_a_letter() -> None:
    """Two things under one letter would be read as each other: points could be lost so."""
    kinds = Counter(re.findall(r"^    (\w) +\w", state.__doc__ or "", flags=re.MULTILINE))

    assert len(kinds) > 15
    assert [kind for kind, times in kinds.items() if times > 1] == []
