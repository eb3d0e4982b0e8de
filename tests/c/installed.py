"""Runs a C program on the kernels of the installed module: python tests/c/installed.py PROGRAM.so ARGUMENTS...

The program is a shared object with a main(), compiled without csrc: what it calls of the kernels, the module exports.
"""

import ctypes
import sys

from crossent import _kernels

ctypes.CDLL(_kernels.__file__, ctypes.RTLD_GLOBAL)  # for all to see that is loaded from here on
words = [word.encode() for word in sys.argv[1:]]
sys.exit(ctypes.CDLL(sys.argv[1]).main(len(words), (ctypes.c_char_p * len(words))(*words)))
