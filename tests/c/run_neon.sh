#!/bin/sh
# The C tests for 64-bit ARM on another machine: cross-compiled, and run by an emulator.
#
#     tests/c/run_neon.sh [simd_test|kernel_hash [FOLDER]]
#
# Without a name: both. FOLDER keeps what is compiled (default: a temporary one). CC and QEMU name other tools.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
csrc=$here/../../csrc
CC=${CC:-aarch64-linux-gnu-gcc}
QEMU=${QEMU-qemu-aarch64}
flags="-O1 -std=c11 -Wall -Wextra -Werror -ffp-contract=off -fno-math-errno -fno-trapping-math -static -I $csrc"

if [ $# -gt 1 ]; then
    folder=$2
else
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
fi

for test in ${1:-simd_test kernel_hash}; do
    case $test in
    simd_test)
        $CC $flags -DCE_SIMD_HEADER='"simd/neon.h"' "$here/simd_test.c" -o "$folder/simd_test_neon" -lm
        $QEMU "$folder/simd_test_neon"
        ;;
    kernel_hash)
        $CC $flags "$here/kernel_hash.c" "$here/no_baseline.c" "$csrc"/dispatch.c "$csrc"/isa_neon.c "$csrc"/scratch.c \
            -o "$folder/kernel_hash_neon" -lm
        $QEMU "$folder/kernel_hash_neon" neon
        ;;
    *)
        echo "no such test: $test" >&2
        exit 2
        ;;
    esac
done
