"""The small series of `flts.testing`."""

from flts.testing.series import HOUR, START, hourly, split, table

__all__ = ["HOUR", "START", "hourly", "split", "table"]
