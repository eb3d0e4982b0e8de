"""What takes long and is not Python: it starts when the tests are collected, and those that need it come to it later.

``@pytest.mark.beside(result_of=function)`` has function() run once, in a thread of its own; ``beside.result(function)``
is what it returned, or its exception. Not started, it runs there.
"""

import functools
import threading
from concurrent.futures import Future

_started = {}


def start(functions):
    """All at once: programs that are started later would inherit the limits that some tests set for a while."""
    for function in functions:
        _started[function] = Future()
        # A daemon does not keep an interpreter that is interrupted.
        threading.Thread(target=_run, args=(function, _started[function]), daemon=True).start()


def _run(function, future):
    try:
        future.set_result(function())
    except BaseException as error:  # pytest.skip, too: it is raised where the result is asked for
        future.set_exception(error)


@functools.cache
def result(function):
    return _started[function].result() if function in _started else function()
