"""What gives the outcome away: columns, tables and events that know more than they could have.

A leak is found by its numbers (a column that alone ranks almost perfectly, rows that appear just
before customers leave) and, more weakly, by its name. Every suspect carries its evidence.
"""

from retain.leaks.alone import find_leaks
from retain.leaks.suspect import Suspect
from retain.leaks.timing import find_leaks_in_time

__all__ = ["Suspect", "find_leaks", "find_leaks_in_time"]
