"""A company's tables: what they must hold, how they are read and checked, what is set aside.

`read_tables` is the one way in; `Tables` is what everything above relies on.
"""

from retain.tables.mapping import Counts, Finding, Mapping
from retain.tables.news import News, fingerprint_of, read_news
from retain.tables.propose import propose_config
from retain.tables.reading import read_tables
from retain.tables.result import Tables, write_quarantine
from retain.tables.spec import BEHAVIOUR, SPECS, TABLES, ColumnSpec, TableSpec

__all__ = [
    "BEHAVIOUR",
    "SPECS",
    "TABLES",
    "ColumnSpec",
    "Counts",
    "Finding",
    "Mapping",
    "News",
    "TableSpec",
    "Tables",
    "fingerprint_of",
    "propose_config",
    "read_news",
    "read_tables",
    "write_quarantine",
]
