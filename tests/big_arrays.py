"""Arrays of more than 2^31 elements in a few megabytes of memory: one block of pages seen at many addresses.

``big(order, *blocks)`` looks like the blocks one after the other in that order, and every block exists once. What is
written into a repetition is written into all of them, so a result may lie in such an array where the arguments repeat
in the same order: each repetition is then written with the same numbers.
"""

import ctypes
import mmap
import os
import weakref

import numpy as np

PROT_NONE, MAP_FIXED, MAP_NORESERVE = 0, 0x10, 0x4000
AVAILABLE = hasattr(os, "memfd_create") and ctypes.sizeof(ctypes.c_void_p) == 8

# Items of a block: whole pages for every item of 1, 2, 4 or 8 bytes; rows of 1, 2, 3, 9, 21, 64 or 1008 fit in it.
BLOCK = 63 * mmap.PAGESIZE


def _libc():
    libc = ctypes.CDLL(None, use_errno=True)
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    libc.mmap.restype = pointer
    libc.mmap.argtypes = [pointer, size, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.munmap.argtypes = [pointer, size]
    return libc


def _map(libc, address, size, protection, flags, file, offset):
    result = libc.mmap(address, size, protection, flags, file, offset)
    if result == ctypes.c_void_p(-1).value:
        raise MemoryError(os.strerror(ctypes.get_errno()))
    return result


def big(order, *blocks):
    """A one-dimensional array: block order[0], then block order[1], and so on, all of BLOCK items of one dtype."""
    together = np.ascontiguousarray(blocks).reshape(len(blocks), BLOCK)
    bytes_of_block = BLOCK * together.itemsize
    size = bytes_of_block * len(order)
    libc = _libc()
    file = os.memfd_create("blocks")
    try:
        with os.fdopen(file, "wb", closefd=False) as stream:
            stream.write(together.tobytes())
        start = _map(libc, None, size, PROT_NONE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        for place, block in enumerate(order):
            _map(
                libc, start + place * bytes_of_block, bytes_of_block, mmap.PROT_READ | mmap.PROT_WRITE,
                mmap.MAP_SHARED | MAP_FIXED, file, int(block) * bytes_of_block,
            )  # fmt: skip
    finally:
        os.close(file)
    memory = (ctypes.c_char * size).from_address(start)
    weakref.finalize(memory, libc.munmap, start, size)
    return np.frombuffer(memory, together.dtype)
