"""The runner's sums, and the size rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check_sizes import offences
from tools.run_tests import Counts, judge, read_counts

REPORT = """<testsuites><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10"/></testsuites>"""


def test_a_report_is_summed(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    assert read_counts(report) == Counts(passed=4, failed=3, skipped=3)


def test_no_report_is_a_failure(tmp_path: Path) -> None:
    assert read_counts(tmp_path / "none.xml") == Counts(failed=1)


@pytest.mark.parametrize(
    ("code", "counts", "failed"),
    [
        (0, Counts(passed=5), 0),
        (1, Counts(passed=5, failed=2), 2),
        (5, Counts(), 1),
        (0, Counts(skipped=4), 1),
        (3, Counts(passed=5), 1),
    ],
    ids=["all well", "failures as counted", "no test", "all skipped", "died with no test to blame"],
)
def test_a_lane_is_judged(code: int, counts: Counts, failed: int) -> None:
    assert judge("unit", code, counts).failed == failed


def test_counts_print_as_the_closing_line() -> None:
    assert str(Counts(1, 2, 3) + Counts(passed=10)) == "11 passed, 2 failed, 3 skipped"


def test_a_long_function_is_an_offence_and_its_docstring_is_not() -> None:
    body = "".join(f"    x{i} = {i}\n" for i in range(39))
    docstring = '    """' + "words\n" * 30 + '    """\n'
    assert list(offences(Path("a.py"), f"def f():\n{docstring}{body}")) == []
    assert list(offences(Path("a.py"), f"def f():\n{body}    y = 0\n")) == ["a.py:1 f of 41 lines, at most 40"]


def test_a_long_file_is_an_offence() -> None:
    assert list(offences(Path("a.py"), "x = 0\n" * 400)) == []
    assert list(offences(Path("a.py"), "x = 0\n" * 401)) == ["a.py:1 file of 401 lines, at most 400"]
