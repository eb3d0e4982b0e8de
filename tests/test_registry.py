"""Nothing is forgotten: every public function and every kernel has a case, every case an oracle."""

import inspect

import cases
import oracles
import pytest

import crossent as ce
from crossent import _kernels

# Public names that compute nothing on arrays, or compute through a function that has a case.
OTHER_FUNCTIONS = {"value_and_grad", "value_grad_and_hess", "set_num_threads", "get_num_threads", "show_config"}
SIGNATURES = {
    "row_map": {"row_map"},
    "row_map_backward": {"row_map_backward"},
    "row_loss": {"row_loss", "row_loss_sum"},
    "element_map": {"element_map"},
    "element_loss": {"element_loss"},
}


def public_functions():
    return {
        name for name in ce.__all__ if inspect.isroutine(getattr(ce, name)) or inspect.isfunction(getattr(ce, name))
    }


def test_every_public_function_has_a_case():
    missing = public_functions() - set(cases.BY_NAME) - OTHER_FUNCTIONS
    assert not missing, f"add a Case to tests/cases.py for {sorted(missing)}"


def test_every_case_is_public():
    missing = set(cases.BY_NAME) - set(ce.__all__)
    assert not missing, f"crossent.__all__ lacks {sorted(missing)}"


def test_every_kernel_is_reached_by_a_case():
    reached = set().union(*(case.kernels for case in cases.CASES if cases.available(case)))
    missing = set(_kernels.kernel_names()) - reached
    assert not missing, f"no public function with a Case in tests/cases.py reaches the kernels {sorted(missing)}"
    assert reached <= set(_kernels.kernel_names())


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_case_agrees_with_the_list_of_kernels(case):
    signatures = _kernels.kernel_names()
    assert {signatures[kernel] for kernel in case.kernels} <= SIGNATURES[case.kind]


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_oracle_takes_the_arguments_of_the_function(case):
    """Same names, same defaults; the oracle knows nothing of out and num_threads."""
    ours = inspect.signature(getattr(ce, case.name)).parameters
    oracle = inspect.signature(getattr(oracles, case.name + "_parts" if case.is_loss else case.name)).parameters
    plumbing = {"out", "num_threads", "reduction"}
    assert list(oracle) == [name for name in ours if name not in plumbing]
    assert {n: p.default for n, p in oracle.items()} == {n: ours[n].default for n in oracle}


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_every_argument_is_exercised(case):
    """Each option of a function is set by one of its variants."""
    options = set()
    for variant in case.variants:
        options |= set(cases.make_call(case, variant, (4, 3), "float64").options)
    ours = inspect.signature(getattr(ce, case.name)).parameters.values()
    wanted = {p.name for p in ours if p.default is not p.empty} - {"out", "num_threads", "reduction"}
    assert wanted <= options, f"no variant of {case.name} sets {sorted(wanted - options)}"


def test_all_kernels_exist_in_every_kernel_set(isa):
    """A name list from the dispatch table, the same for each; calls through it are what all other tests make."""
    assert set(_kernels.kernel_names()) == set().union(*(case.kernels for case in cases.CASES))


def test_variants_and_cases_are_named_once():
    assert len(cases.BY_NAME) == len(cases.CASES)
    for case in cases.CASES:
        assert len({variant.label for variant in case.variants}) == len(case.variants)
