"""Each method in turn."""

import pytest

from contexts.reference_network import METHODS


@pytest.fixture(params=METHODS)
def method(request):
    """Each method in turn."""
    return request.param
