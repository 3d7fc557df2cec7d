"""The customer-success lead's page over the action store."""

from retain.review.desk import Desk
from retain.review.passwords import hash_password
from retain.review.serving import place_door, serve

__all__ = ["Desk", "hash_password", "place_door", "serve"]
