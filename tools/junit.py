"""Counts a JUnit file of ctest: prints 'PASSED FAILED SKIPPED FIRST_THAT_FAILED'."""

import sys
import xml.etree.ElementTree as ET

passed = failed = skipped = 0
first = ""
for case in ET.parse(sys.argv[1]).getroot().iter("testcase"):
    status = case.get("status")
    if status == "run":
        passed += 1
    elif status == "fail":
        failed += 1
        first = first or case.get("name")
    else:
        skipped += 1
print(passed, failed, skipped, first)
