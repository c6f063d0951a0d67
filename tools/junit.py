"""Counts a JUnit file of ctest: prints 'PASSED FAILED SKIPPED FIRST_THAT_FAILED'.

A program that says 'N passed, N failed, N skipped' in its last line counts as that many tests, any
other as one.
"""

import re
import sys
import xml.etree.ElementTree as ET


def count(case):
    """(passed, failed, skipped) of one program."""
    said = (case.findtext("system-out") or "").rstrip().rsplit("\n", 1)[-1]
    numbers = re.fullmatch(r"(\d+) passed, (\d+) failed(?:, (\d+) skipped)?", said)
    passed, failed, skipped = (int(n or 0) for n in (numbers.groups() if numbers else "000"))
    if case.get("status") == "fail":
        return passed, failed or 1, skipped
    if case.get("status") != "run":
        return passed, failed, skipped or 1
    return passed or 1, failed, skipped


def main():
    total = [0, 0, 0]
    first = ""
    for case in ET.parse(sys.argv[1]).getroot().iter("testcase"):
        total = [a + b for a, b in zip(total, count(case))]
        if case.get("status") == "fail":
            first = first or case.get("name")
    print(*total, first)


main()
