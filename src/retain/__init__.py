"""What each customer is worth, who is about to leave, why, and what it would pay to keep them."""

__version__ = "0.1.0"
