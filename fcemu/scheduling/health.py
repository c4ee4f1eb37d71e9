"""Is an instance healthy, according to its last health checks? (`healthCheckConfig`, D/04/038)"""

from __future__ import annotations

from dataclasses import dataclass

from fcemu.model import HealthCheckConfig


@dataclass
class Health:
    """The health of one instance. It begins healthy, because an instance whose first check fails does not start."""

    config: HealthCheckConfig
    healthy: bool = True
    _in_a_row: int = 0

    def observe(self, passed: bool) -> bool:
        """Record the result of a check; returns whether that changed `healthy`.

        `failureThreshold` failures in a row make an instance unhealthy, `successThreshold` successes healthy again.
        """
        if passed is self.healthy:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        if self._in_a_row < (self.config.failureThreshold if self.healthy else self.config.successThreshold):
            return False
        self.healthy = not self.healthy
        self._in_a_row = 0
        return True


def passes(status: int) -> bool:
    """Whether the status of a check's answer means healthy: 200 to 399."""
    return 200 <= status < 400
