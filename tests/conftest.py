"""What every test shares: threads that wait quietly, and hypothesis without deadlines."""

import os

# before anything imports OpenMP: threads that spin cost minutes on a shared machine
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from hypothesis import HealthCheck, settings

settings.register_profile(
    "retain", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("retain")
