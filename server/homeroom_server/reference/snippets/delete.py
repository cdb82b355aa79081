"""Deletes a record; everybody who sees it is told.   python delete.py School 0982"""

import sys

from get import get
from submit import report, submit

kind, record_id = sys.argv[1:]
(found,) = get(kind, [{"id": record_id}])
if found["availability"] != "Normal" or found["deleted"]:
    sys.exit(f"there is no {kind} {record_id}")
report(submit(kind, {"id": record_id, "expectedVersion": found["coreVersion"], "deleted": True}))
