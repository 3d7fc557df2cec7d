"""The pages, one module each; a page reads through the action store and draws a template."""

from retain.review.pages import customer, customers, queue

__all__ = ["ROUTERS"]

ROUTERS = (queue.router, customers.router, customer.router)
"""The routes of every page."""
