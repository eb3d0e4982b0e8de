# cython: language_level=3, cdivision=True, freethreading_compatible=True
"""Typed drivers: loops over blocks of rows (or of elements) around the C kernels, one driver per kernel signature.

The blocks are a function of the problem's shape only, never of the number of threads, and their results are combined in
the order of the blocks: any number of threads gives the same bits. Nothing here raises about shapes or values; a driver
is called with arguments that `_validation` has passed. The `fast_...` functions look at raw arguments first: they
return the result for plain contiguous arrays and None for whatever needs the slow lane.
"""
import os

cimport cython
cimport numpy as cnp
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cython.parallel cimport prange, threadid
from libc.stdint cimport (
    INT64_MAX, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t)
from libc.math cimport isfinite
from libc.string cimport memset

from crossent._csrc cimport *

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static int crossent_has_openmp(void) { return 1; }
    static int crossent_in_parallel(void) { return omp_in_parallel(); }
    static int crossent_max_threads(void) { return omp_get_max_threads(); }
    #else
    static int crossent_has_openmp(void) { return 0; }
    static int crossent_in_parallel(void) { return 0; }
    static int crossent_max_threads(void) { return 1; }
    #endif
    """
    bint crossent_has_openmp() nogil
    bint crossent_in_parallel() nogil
    int crossent_max_threads() nogil

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8(object) except NULL

cnp.import_array()

# Elements per block: large enough to hide the cost of a call, small enough that the block's input stays in L2.
cdef enum:
    ROW_BLOCK_ELEMENTS = 65536
    MAX_BLOCK_ROWS = 1024
    TILE_ROWS = 16  # the kernels of short rows take so many at a time
    # nll_loss reads one element of a row, however long: between blocks fewer reads are under way.
    NLL_BLOCKS = 64
    LEAST_NLL_BLOCK_ROWS = 128
    ELEMENT_BLOCK = 4096
    TARGET_BLOCK = 65536
    TARGET_CHUNK = 512
    # Below this much work the call takes about as long as giving the GIL away and getting it back.
    GIL_ELEMENTS = 32768
    # A thread must have this much to do before waking it pays.
    THREAD_ELEMENTS = 65536
    # Outputs beyond this do not stay in the last-level cache: reading them back is not what to optimise for.
    STREAM_BYTES = 8388608
    # Planes of classes beyond this are asked for ahead: a core foresees some thirty streams of reads, and each is one.
    # Long rows too, as they ask for little at a time: log_softmax of 1024 x 1000 8 % less, of 2048 x 1000 24 %.
    FAR_BYTES = 2097152
    LONG_ROW = 257
    # Workspaces up to this size live on the stack.
    STACK_BYTES = 16384
    ALIGNMENT = 64
    GUESS_BYTES = 64  # a ce_guess, and what keeps the rest aligned

ELEMENT_BLOCK_SIZE = ELEMENT_BLOCK


# ---------------------------------------------------------------------------------------------------------------------
# The state of the process: one table of kernels, the default number of threads, from how many threads on results are
# stored past the caches, whether we are a forked child

cdef const ce_kernel_table *active_table = NULL
cdef int default_threads = 1
cdef bint limited_by_openmp = False
cdef int streaming_threads = ce_least_streaming_threads()
cdef bint forked = False


def isas():
    """Names of the kernel sets that this build holds and this processor can run, best first."""
    return tuple([ce_table(i).isa.decode() for i in range(ce_n_tables())])


def active_isa():
    return active_table.isa.decode()


def use_isa(str name not None):
    """Switch to another kernel set and return the name of the one that was active. For tests and benchmarks."""
    global active_table
    cdef int i
    previous = active_isa() if active_table != NULL else None
    for i in range(ce_n_tables()):
        if ce_table(i).isa.decode() == name:
            active_table = ce_table(i)
            return previous
    raise ValueError(f"instruction set {name!r} is not available here; available: {', '.join(isas())}")


def kernel_names():
    """{name: signature} of every kernel, in the order of kernels.def."""
    cdef int i = 0
    names = {}
    while ce_kernel_name(i) != NULL:
        names[ce_kernel_name(i).decode()] = ce_kernel_signature(i).decode()
        i += 1
    return names


def kernel_id(str name not None, str signature not None):
    """The number of a kernel; it must have the signature of the driver that is going to call it."""
    for i, (other, other_signature) in enumerate(kernel_names().items()):
        if (other, other_signature) == (name, signature):
            return i
    raise LookupError(f"no kernel {name!r} of signature {signature!r}")


cdef int NLL_LOSS = kernel_id("nll_loss", "row_loss")
cdef int NLL_SUM = kernel_id("nll_sum", "row_loss_sum")


def openmp_enabled():
    return crossent_has_openmp()


def set_default_threads(int n, bint limited):
    """The number of threads for calls without num_threads; limited: not more than OpenMP says at the time."""
    global default_threads, limited_by_openmp
    default_threads = n
    limited_by_openmp = limited


cdef inline int threads_by_default() noexcept nogil:
    cdef int limit
    if not limited_by_openmp:
        return default_threads
    limit = crossent_max_threads()
    return limit if limit < default_threads else default_threads


def get_default_threads():
    return threads_by_default()


def set_streaming_threads(int n):
    """Store past the caches from n threads on; returns what it was. For tests and benchmarks."""
    global streaming_threads
    previous = streaming_threads
    streaming_threads = n
    return previous


def set_forked():
    """We are the child of a fork: libgomp's threads did not come along, and asking it for some would hang."""
    global forked
    forked = True


cdef _choose_table():
    name = os.environ.get("CROSSENT_ISA")
    try:
        use_isa(name or isas()[0])
    except ValueError as error:
        raise ImportError(f"CROSSENT_ISA={name}: {error}") from None


_choose_table()


include "_blocks.pxi"
include "_arguments.pxi"
include "_row_drivers.pxi"
include "_element_drivers.pxi"
