/* The fuzz target without a fuzzer: `kernels SEED COUNT` makes COUNT inputs from a seed, `kernels FILE...` replays files. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_SIZE = 65536 };

static uint8_t data[MAX_SIZE];

static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(2);
    }
    size_t size = fread(data, 1, sizeof data, file);
    fclose(file);
    LLVMFuzzerTestOneInput(data, size);
}

/* Knuth's MMIX generator; the fuzz target stretches what it gets. */
static uint64_t next(uint64_t *state) { return *state = *state * 6364136223846793005u + 1442695040888963407u; }

int main(int argc, char **argv)
{
    char *end = NULL;
    uint64_t state = argc == 3 ? strtoull(argv[1], &end, 10) : 0;
    if (!end || *end) {
        for (int i = 1; i < argc; i++) {
            replay(argv[i]);
        }
        return argc < 2;
    }
    for (long n = strtol(argv[2], NULL, 10); n > 0; n--) {
        for (int i = 0; i < 64; i++) {
            data[i] = (uint8_t)(next(&state) >> 56);
        }
        LLVMFuzzerTestOneInput(data, 64);
    }
    return 0;
}
