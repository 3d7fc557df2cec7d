"""Everything a company may set: one YAML file, one frozen object.

Only this room knows how the file is written. Below `jobs` and `cli` arguments are plain.
"""

from retain.config.listing import describe_config, redact
from retain.config.reading import load_config, place_of
from retain.config.settings import Config, TableConfig

__all__ = ["Config", "TableConfig", "describe_config", "load_config", "place_of", "redact"]
