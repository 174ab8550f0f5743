"""The REST API of docs/interface.md: the one way in for people, the command line and the GUI.

    app = build(services)                 # served on TCP: every request brings a token
    local = trusted(app)                  # the same app on the site's own socket: who may open it is the operator
    end_streams(app)                      # first thing at shutdown: event streams end, so that the server can

A handler is one call of a use case. What is said about HTTP (who calls, limits, errors, paging, preferences) is said
once, in the modules beside the routers.
"""

from __future__ import annotations

from intertie.api.app import build, end_streams
from intertie.api.auth import trusted
from intertie.api.services import Services

__all__ = ["Services", "build", "end_streams", "trusted"]
