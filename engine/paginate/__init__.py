"""How a list continues on its next page. Pure.

One class a kind: `pages` (single, number, offset), `links` (next_link, link_header, token), `key_set`. What they have in common
is in `step`.
"""

from .key_set import KeySet, TieBreaker
from .links import LinkHeader, NextLink, Token
from .pages import Number, Offset, Single
from .step import End, Paginator, Reason, State, Step, watch

__all__ = [
    "End", "KeySet", "LinkHeader", "NextLink", "Number", "Offset", "Paginator", "Reason", "Single",
    "State", "Step", "TieBreaker", "Token", "watch",
]  # fmt: skip
