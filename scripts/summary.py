"""Adds up the JUnit reports of a test run: what did not run and why, and the closing line with the counts.

    summary.py FOLDER [FAILED-STEP…]

A step that failed without a failed test (the linter, a crashed session) counts as one failure. Exits with 1 when anything
failed, or when there were test sessions and not one test passed, so that an empty run is never green.
"""

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path


def main(folder: Path, failed_steps: list[str]) -> int:
    """Prints the summary and returns the exit status."""
    passed = failed = 0
    reasons: Counter[str] = Counter()
    reports = sorted(folder.glob("*.xml"))
    for report in reports:
        failed_here = 0
        for case in ElementTree.parse(report).iter("testcase"):
            skipped = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                failed_here += 1
            elif skipped is not None:
                reasons[skipped.get("message", "no reason given")] += 1
            else:
                passed += 1
        failed += failed_here
        if failed_here and report.stem in failed_steps:
            failed_steps.remove(report.stem)
    for reason, count in sorted(reasons.items()):
        print(f"not run on this machine: {count} {'test' if count == 1 else 'tests'}: {reason}")
    for step in failed_steps:
        print(f"failed: {step}")
    failed += len(failed_steps)
    skipped_total = sum(reasons.values())
    print(f"{passed} passed, {failed} failed" + (f", {skipped_total} skipped" if skipped_total else ""))
    return 1 if failed or (reports and not passed) else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
