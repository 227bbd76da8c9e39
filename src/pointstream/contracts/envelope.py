"""What inputs have in common: the envelope."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

from pointstream.contracts.fields import Id, Instant
from pointstream.contracts.wire import epoch_ms

__all__ = ["INPUT_CONFIG", "Envelope", "Geo", "MemberEnvelope"]

INPUT_CONFIG = ConfigDict(frozen=True, extra="ignore", strict=True, use_attribute_docstrings=True)


class Geo(BaseModel):
    """Where something happened: WGS 84 degrees."""

    model_config = INPUT_CONFIG

    lat: Annotated[float, Field(ge=-90, le=90)]
    lon: Annotated[float, Field(ge=-180, le=180)]


class Envelope(BaseModel):
    """What every input carries, whatever its topic."""

    model_config = INPUT_CONFIG

    event_id: Id
    """The same for each redelivery of the same event, and for nothing else."""
    occurred_at: Instant
    """When it happened; it is scored as of this moment, however late it arrives."""
    store_id: Id | None = None
    brand_id: Id | None = None
    channel: Id | None = None
    """Where it came in: `pos`, `web`, `app`, `miniapp`, or another name."""
    device_id: Id | None = None
    ip: Id | None = None
    geo: Geo | None = None
    source: Id | None = None
    """The system that published it."""
    campaign_codes: Annotated[tuple[Id, ...], Strict(False)] = ()
    """The campaigns under which it happened."""

    @property
    def occurred_at_ms(self) -> int:
        """`occurred_at` in milliseconds since the epoch, from 0."""
        return epoch_ms(self.occurred_at)


class MemberEnvelope(Envelope):
    """What every input about a member carries; the record's key is its `member_id`."""

    member_id: Id
    """The same as the record's key."""
