"""Errors travel between processes whole."""

import pickle

import pytest

from spikec.ir import SpikecError, errors

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("more", [{}, {"loc": "Conv_3"}, {"loc": "Conv_3", "hint": "use 4 bits"}])
def test_errors_survive_pickling(kind, more):
    error = kind("a value leaves its width", **more)
    error.message = f"pass range: {error.message}"
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is kind
    assert issubclass(kind, SpikecError)
    assert (found.message, found.loc, found.hint) == (error.message, error.loc, error.hint)
    assert str(found) == str(error)
