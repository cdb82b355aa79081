"""Python's own library and what is installed, for a user who cannot get to the folders where they are."""

import os
import sys
from pathlib import Path


def hold_library() -> None:
    """Open what of `sys.path` lies in folders that are closed to others (root's own, say), and import by that.

    The folders themselves have to be open to everybody.
    """
    held = {path: f"/proc/self/fd/{os.open(path, os.O_PATH)}" for path in sys.path if _is_out_of_reach(path)}
    sys.path[:] = [held.get(path, path) for path in sys.path]
    for module in list(sys.modules.values()):
        inside = getattr(module, "__path__", None)
        if isinstance(inside, list):
            inside[:] = [_by(held, each) for each in inside]


def _is_out_of_reach(path: str) -> bool:
    return Path(path).is_dir() and any(not above.stat().st_mode & 0o001 for above in Path(path).parents)


def _by(held: dict[str, str], path: str) -> str:
    """A package's folder, by the innermost of what is held."""
    above = [each for each in held if path.startswith(each + "/")]
    return path if not above else held[max(above, key=len)] + path[len(max(above, key=len)) :]
