"""Assertions in the parts that are shared say what they compared."""

import pytest

pytest.register_assert_rewrite("tests.federation.partitions.proof")
