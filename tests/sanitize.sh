#!/usr/bin/env bash
# Memory, undefined behaviour, races: the code under the tools that see them. Linux.
#
#     bash tests/sanitize.sh                    all but the fuzzer
#     bash tests/sanitize.sh warnings           every C file, gcc's and clang's strictest warnings
#     bash tests/sanitize.sh c                  the C tests and the fuzz target under AddressSanitizer and UBSan
#     bash tests/sanitize.sh valgrind           the C tests under memcheck (it has no AVX-512: AVX2 and the baseline)
#     bash tests/sanitize.sh asan [pytest ...]  the library under AddressSanitizer and UBSan; the quick tests by default
#     bash tests/sanitize.sh tsan [pytest ...]  the drivers under ThreadSanitizer; tests/test_threads.py by default
#     bash tests/sanitize.sh fuzz [SECONDS]     the fuzz target under libFuzzer; an hour by default
#
# PYTHON is an interpreter with the test dependencies, Cython and setuptools. Needs gcc; valgrind; clang for `fuzz` and
# `warnings`; for `tsan` LLVM's OpenMP with Archer (Debian: libomp-14-dev).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

PYTHON=${PYTHON:-python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
arithmetic=(-std=c11 -ffp-contract=off -fno-math-errno -fno-trapping-math)

step() {
    printf '\n==== %s (%d s)\n' "$*" "$SECONDS"
}

isas() {
    "$PYTHON" -c 'from crossent import _kernels; print(*_kernels.isas())'
}

# $1: compiler flags. The programs simd_test-ISA, kernel_hash and fuzz, in $work.
build_c_tests() {
    local isa
    for isa in avx2 baseline; do
        local target=(-DCE_FMA_EMULATED)
        if [ $isa = avx2 ]; then target=(-mavx2 -mfma); fi
        # shellcheck disable=SC2086
        gcc "${arithmetic[@]}" $1 -Icsrc -DCE_SIMD_HEADER="\"simd/$isa.h\"" "${target[@]}" tests/c/simd_test.c \
            -o "$work/simd_test-$isa" -lm
    done
    mkdir -p "$work/objects"
    for file in csrc/*.c; do
        # shellcheck disable=SC2086
        gcc "${arithmetic[@]}" $1 -Icsrc -c "$file" -o "$work/objects/$(basename "$file" .c).o"
    done
    # shellcheck disable=SC2086
    gcc "${arithmetic[@]}" $1 -Icsrc tests/c/kernel_hash.c "$work"/objects/*.o -o "$work/kernel_hash" -lm
    # shellcheck disable=SC2086
    gcc "${arithmetic[@]}" $1 -Icsrc tests/fuzz/kernels.c tests/fuzz/standalone.c "$work"/objects/*.o -o "$work/fuzz" -lm
}

# $1: compiler flags, $2: linker flags. The package, built in $work/src.
build_package() {
    cp -r setup.py pyproject.toml README.md LICENSE csrc src "$work/"
    rm -f "$work"/src/crossent/*.so
    (cd "$work" && CFLAGS="$1 -g -fno-omit-frame-pointer" LDFLAGS="$2" "$PYTHON" setup.py -q build_ext --inplace)
}

# Not -Wdouble-promotion: that float becomes double is how the kernels get their digits. Not -Wfloat-equal: 0 and infinity are
# compared with on purpose. The warnings of clang do not wait for its optimiser.
run_warnings() {
    step "warnings; gcc's of csrc come with a build under CROSSENT_WERROR=1"
    local compiler file
    for file in csrc/*.c; do
        clang "${arithmetic[@]}" -Icsrc -Wall -Wextra @csrc/strict_warnings.txt -Werror -fsyntax-only "$file"
    done
    for compiler in gcc clang; do
        for file in tests/c/kernel_hash.c tests/fuzz/*.c; do
            "$compiler" "${arithmetic[@]}" -Icsrc -Wall -Wextra -Wpedantic -Wshadow -Werror -O2 -c -o "$work/strict.o" "$file"
        done
    done
}

run_c() {
    step "the C tests and the fuzz target under AddressSanitizer and UBSan"
    build_c_tests "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"
    "$work/simd_test-baseline"
    if [[ " $(isas) " == *" avx2 "* ]]; then
        "$work/simd_test-avx2"
    fi
    local isa
    for isa in $(isas); do
        "$work/kernel_hash" "$isa" > "$work/hashes"
    done
    "$work/fuzz" 1 3000
}

run_valgrind() {
    step "the C tests under memcheck"
    build_c_tests "-O2 -g"
    local check=(valgrind -q --error-exitcode=9 --leak-check=no)
    local isa
    for isa in avx2 baseline; do
        # Memcheck gets the signs of some zeros wrong, and long double as narrow as double, which this test sees: only
        # errors of memory count.
        "${check[@]}" "$work/simd_test-$isa" > "$work/simd.txt" 2>&1 || [ $? -ne 9 ] || { cat "$work/simd.txt"; exit 9; }
    done
    "${check[@]}" "$work/kernel_hash" avx2 > "$work/hashes"
    "${check[@]}" "$work/kernel_hash" baseline > "$work/hashes"
}

run_asan() {
    step "the library under AddressSanitizer and UBSan"
    build_package "-fsanitize=address,undefined" "-fsanitize=address,undefined"
    local tests=(-m "not slow" --ignore=tests/test_accuracy.py --ignore=tests/test_c.py --ignore=tests/test_fuzz.py)
    if [ $# -gt 0 ]; then tests=("$@"); fi
    # Not the leaks of the interpreter; nor the tests that limit or measure memory, of which the sanitizer keeps some.
    LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)" PYTHONPATH=$work/src \
        ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
        "$PYTHON" -m pytest -q -p no:cacheprovider -k "not no_memory and not is_kept and not are_kept" "${tests[@]}"
}

# GNU's OpenMP runtime synchronises by futexes that ThreadSanitizer does not see: every barrier would be a race. LLVM's
# takes its place (it has GNU's entry points too), and Archer tells ThreadSanitizer about its barriers.
with_tsan() {
    local archer omp
    archer=$(find /usr/lib/llvm-*/lib -name libarcher.so | sort -V | tail -1)
    omp=$(find "$(dirname "$archer")" -name 'libomp.so.5' | tail -1)
    # -R: ThreadSanitizer wants addresses where it expects them.
    setarch -R env LD_PRELOAD="$(realpath "$(gcc -print-file-name=libtsan.so)"):$omp" OMP_TOOL_LIBRARIES="$archer" \
        TSAN_OPTIONS="ignore_noninstrumented_modules=1 exitcode=66" PYTHONPATH="$work/src" "$@"
}

run_tsan() {
    step "a planted race is found, its correct twin is not"
    gcc -O1 -g -fsanitize=thread -fPIC -shared -fopenmp tests/c/race.c -o "$work/race.so"
    local count="import ctypes, sys; ctypes.CDLL('$work/race.so').count(100000, int(sys.argv[1]))"
    with_tsan "$PYTHON" -c "$count" 0
    if with_tsan "$PYTHON" -c "$count" 1 2> "$work/race.txt" || ! grep -q "data race" "$work/race.txt"; then
        echo "ThreadSanitizer did not find the planted race" >&2
        exit 1
    fi
    step "the drivers under ThreadSanitizer"
    build_package "-fsanitize=thread" "-fsanitize=thread"
    with_tsan "$PYTHON" tests/c/eight_threads.py
    local tests=(tests/test_threads.py)
    if [ $# -gt 0 ]; then tests=("$@"); fi
    with_tsan "$PYTHON" -m pytest -q -p no:cacheprovider "${tests[@]}"
}

run_fuzz() {
    step "the fuzz target under libFuzzer"
    local file
    # Not with AddressSanitizer: clang takes ten minutes to compile that, and the target runs a hundred times slower.
    # Its arrays lie between pages that cannot be touched; `c` runs the same target under the sanitizers.
    for file in csrc/*.c; do
        clang "${arithmetic[@]}" -O2 -fsanitize=fuzzer-no-link -Icsrc -c "$file" -o "$work/$(basename "$file" .c).o"
    done
    clang "${arithmetic[@]}" -O2 -g -fsanitize=fuzzer -Icsrc tests/fuzz/kernels.c "$work"/*.o -o "$work/fuzz" -lm
    mkdir "$work/corpus"
    "$work/fuzz" -max_total_time="${1:-3600}" -max_len=300 -len_control=0 -print_final_stats=1 "$work/corpus"
}

what=${1:-all}
shift || true
case $what in
all)
    for run in run_warnings run_c run_valgrind run_asan run_tsan; do
        "$run"
        rm -rf "${work:?}"/*
    done
    ;;
warnings | c | valgrind | asan | tsan | fuzz)
    "run_$what" "$@"
    ;;
*)
    sed -n '2,14p' "${BASH_SOURCE[0]}" >&2
    exit 2
    ;;
esac
