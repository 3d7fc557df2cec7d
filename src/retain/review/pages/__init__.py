"""The pages, one module each; a page reads through the action store and draws a template."""

from retain.review.pages import customer, customers, figures, people, portfolio, proof, queue

__all__ = ["ROUTERS"]

ROUTERS = (
    queue.router,
    customers.router,
    customer.router,
    portfolio.router,
    proof.router,
    figures.router,
    people.router,
)
"""The routes of every page."""
