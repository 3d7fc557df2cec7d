"""Acting on scores: the queue, its hold-out and plays, verdicts, treatments, and their store."""

from retain.actions.store import StaleWrite, Store, Writing, moment_text, open_store

__all__ = ["StaleWrite", "Store", "Writing", "moment_text", "open_store"]
