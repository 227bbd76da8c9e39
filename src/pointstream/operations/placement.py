"""Where a key lives: the partition that Kafka's default partitioner gives it."""

from __future__ import annotations

from functools import lru_cache

from aiokafka.partitioner import murmur2

__all__ = ["partition_of"]


# Hashing is plain Python and dear; keys come back, so most are known already.
@lru_cache(maxsize=1 << 16)
def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key, 0 to `partitions` - 1, as Kafka clients in any language place it."""
    return (int(murmur2(key)) & 0x7FFFFFFF) % partitions
