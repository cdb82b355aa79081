"""The Core's own pages, in the frame of every console."""

from functools import cache

from homeroom_merge.console.frame.rendering import Pages, Section


@cache
def pages() -> Pages:
    """All of them, and what the bar atop each leads to."""
    return Pages(
        [
            Section("now", "Now", "/console/now", of_all=True),
            Section("clients", "Clients", "/console/clients"),
            Section("records", "Records", "/console/records"),
            Section("merges", "Merges", "/console/merges"),
        ],
        ["homeroom_server.console", "homeroom_merge.console"],
    )
