"""Who am I, and for whom may I act?   python hello.py"""

import sys

from calling import Refused, call

try:
    hello = call("GET", "/v1/hello")
except Refused as refused:
    sys.exit(str(refused))
print(f"{hello['client']} ({hello['role']}) acts for {hello['organization']}, and may act for:")
for organization in hello["organizations"]:
    print(organization["code"], organization["name"])
