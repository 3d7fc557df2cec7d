"""Other engines that run our SQL where the data lie: PostgreSQL and Spark."""

from retain.engines.dialects import Engine, rendered
from retain.engines.postgresql import Address, PostgreSQL
from retain.engines.spark import Spark

__all__ = ["Address", "Engine", "PostgreSQL", "Spark", "rendered"]
