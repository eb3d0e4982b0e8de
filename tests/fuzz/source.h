/* A fuzzer's bytes as choices, numbers and arrays. When the bytes are used up, pseudo-random ones that they seed follow. */
#ifndef CROSSENT_FUZZ_SOURCE_H
#define CROSSENT_FUZZ_SOURCE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kernels.h"

struct source {
    const uint8_t *data;
    size_t left;
    uint64_t state;
};

/* splitmix64 */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static struct source source_of(const uint8_t *data, size_t size)
{
    struct source s = {data, size, size};
    for (size_t i = 0; i < size; i++) {
        s.state = (s.state ^ data[i]) * 0x100000001b3u;
    }
    return s;
}

static uint8_t take_byte(struct source *s)
{
    if (s->left == 0) {
        return (uint8_t)next_random(&s->state);
    }
    s->left--;
    return *s->data++;
}

/* 0 to n - 1, n <= 256 */
static int choose(struct source *s, int n) { return take_byte(s) % n; }

/* Low to high; few of the bytes, many of the digits. */
static double uniform(struct source *s, double low, double high)
{
    double unit = (take_byte(s) + (double)(next_random(&s->state) >> 11) * 0x1p-53) / 256;
    return low + (high - low) * unit;
}

static double rounded(enum ce_dtype dtype, double x) { return dtype == CE_F32 ? (float)x : x; }

/* Any bits at all. */
static double raw(struct source *s, enum ce_dtype dtype)
{
    uint64_t bits = 0;
    float single;
    double result;
    for (int i = 0; i < (dtype == CE_F32 ? 4 : 8); i++) {
        bits = bits << 8 | take_byte(s);
    }
    if (dtype == CE_F32) {
        uint32_t low = (uint32_t)bits;
        memcpy(&single, &low, sizeof single);
        return single;
    }
    memcpy(&result, &bits, sizeof result);
    return result;
}

static double special(struct source *s)
{
    static const double values[] = {
        0.0,         -0.0,      INFINITY,  -INFINITY, NAN,     1.0,     -1.0,        0.5,         0x1p-149,
        -0x1p-149,   0x1p-126,  0x1p-1074, 0x1p-1022, 0x1p-24, 0x1p-53, 1 - 0x1p-24, 1 - 0x1p-53, 1 + 0x1p-23,
        1 + 0x1p-52, 1e-30,     -1e-30,    17.0,      -17.0,   36.7,    -36.7,       88.72,       -87.33,
        -103.9,      103.9,     -104.1,    128.0,     -150.0,  709.78,  -708.4,      -745.13,     745.2,
        -746.0,      1e4,       -1e4,      1e30,      -1e30,   3.4e38,  -3.4e38,     1e300,       -1e300,
        1.79e308,    -1.79e308, -100.0,    99.99,     0x1p100,
    };
    return values[choose(s, sizeof values / sizeof *values)];
}

/* How wild an array is: ordinary numbers; with -inf; a few oddities; nothing but oddities; any bits. */
enum mood { ORDINARY, SOME_IMPOSSIBLE, SOME_ODD, ODD, RAW, N_MOODS };

static double logit(struct source *s, enum ce_dtype dtype, int mood, double spread)
{
    int rare = take_byte(s);
    if (mood == RAW) {
        return raw(s, dtype);
    }
    if (mood == ODD || (mood == SOME_ODD && rare < 8)) {
        return rounded(dtype, special(s));
    }
    if (mood == SOME_IMPOSSIBLE && rare < 32) {
        return -INFINITY;
    }
    return rounded(dtype, uniform(s, -spread, spread) + (rare == 255 ? 2 * spread : 0));
}

static double probability(struct source *s, enum ce_dtype dtype, int mood)
{
    int kind = take_byte(s);
    double x = mood >= ODD ? fabs(logit(s, dtype, mood, 1)) : uniform(s, 0, 1);
    if (isnan(x)) {
        return x;
    }
    if (mood != ORDINARY && kind < 64) {
        x = kind & 1 ? 1 : 0;
    } else if (mood != ORDINARY && kind < 96) {
        x = ldexp(x, -(kind - 64) * 40);
    }
    return rounded(dtype, fmin(x, 1));
}

/* ---- arrays in memory ---- */

/* Rooms between pages that must not be touched: an access outside an array that fills its room to that end is a crash,
 * without a sanitizer too. */
enum { N_ROOMS = 12, ROOM_BYTES = 1 << 20, GUARD_BYTES = 1 << 16 };

static unsigned char *rooms[N_ROOMS];
static int rooms_taken;

static unsigned char *take_room(size_t bytes, int at_end)
{
    if (rooms_taken == N_ROOMS || bytes > ROOM_BYTES) {
        abort();
    }
    unsigned char **room = &rooms[rooms_taken++];
    if (!*room) {
        void *memory = mmap(NULL, ROOM_BYTES + 2 * GUARD_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED || mprotect((char *)memory + GUARD_BYTES, ROOM_BYTES, PROT_READ | PROT_WRITE)) {
            abort();
        }
        *room = (unsigned char *)memory + GUARD_BYTES;
    }
    return *room + (at_end ? ROOM_BYTES - bytes : 0);
}

static void free_rooms(void) { rooms_taken = 0; }

/* A matrix in a room of its own. */
struct placed {
    enum ce_dtype dtype;
    int rows, classes;
    size_t bytes;
    unsigned char *memory;
    struct ce_matrix matrix; /* its strides are those of a layout below */
};

enum layout {
    CONTIGUOUS,
    PADDED_ROWS,
    CLASSES_FIRST,
    CLASSES_FIRST_PADDED,
    STRIDED_CLASSES,
    ROWS_BACKWARD,
    CLASSES_BACKWARD,
    FIRST_BACKWARD,
    N_LAYOUTS
};

enum { UNTOUCHED = 0xa5 };

static size_t itemsize(enum ce_dtype dtype) { return dtype == CE_F32 ? sizeof(float) : sizeof(double); }

static void strides_of(enum layout layout, ptrdiff_t rows, ptrdiff_t classes, ptrdiff_t *row, ptrdiff_t *column)
{
    *row = classes;
    *column = 1;
    switch (layout) {
    case PADDED_ROWS:
        *row = classes + 3;
        break;
    case CLASSES_FIRST:
    case CLASSES_FIRST_PADDED:
    case FIRST_BACKWARD:
        *row = layout == FIRST_BACKWARD ? -1 : 1;
        *column = rows + (layout == CLASSES_FIRST_PADDED ? 5 : 0);
        break;
    case STRIDED_CLASSES:
        *row = 3 * classes + 1;
        *column = 3;
        break;
    case ROWS_BACKWARD:
        *row = -classes;
        break;
    case CLASSES_BACKWARD:
        *column = -1;
        break;
    default:
        break;
    }
}

/* at_end: up to the end of a room, wherever that makes it start. Else from the start of one, where lines and pages start. */
static struct placed place(enum ce_dtype dtype, int rows, int classes, enum layout layout, int at_end)
{
    struct placed p = {dtype, rows, classes, 0, NULL, {NULL, 0, 0}};
    strides_of(layout, rows, classes, &p.matrix.row_stride, &p.matrix.class_stride);
    ptrdiff_t to_row = (rows - 1) * p.matrix.row_stride, to_class = (classes - 1) * p.matrix.class_stride;
    ptrdiff_t before = (to_row < 0 ? -to_row : 0) + (to_class < 0 ? -to_class : 0);
    ptrdiff_t after = (to_row > 0 ? to_row : 0) + (to_class > 0 ? to_class : 0);
    p.bytes = (size_t)(before + after + 1) * itemsize(dtype);
    p.memory = take_room(p.bytes, at_end);
    memset(p.memory, UNTOUCHED, p.bytes);
    p.matrix.data = p.memory + (size_t)before * itemsize(dtype);
    return p;
}

static void *element_of(const struct placed *p, int row, int column)
{
    ptrdiff_t offset = row * p->matrix.row_stride + column * p->matrix.class_stride;
    return (char *)p->matrix.data + offset * (ptrdiff_t)itemsize(p->dtype);
}

static double get(const struct placed *p, int row, int column)
{
    const void *at = element_of(p, row, column);
    return p->dtype == CE_F32 ? *(const float *)at : *(const double *)at;
}

static void put(const struct placed *p, int row, int column, double x)
{
    void *at = element_of(p, row, column);
    if (p->dtype == CE_F32) {
        *(float *)at = (float)x;
    } else {
        *(double *)at = x;
    }
}

static void put_all(const struct placed *p, const double *values)
{
    for (int r = 0; r < p->rows; r++) {
        for (int c = 0; c < p->classes; c++) {
            put(p, r, c, values[(ptrdiff_t)r * p->classes + c]);
        }
    }
}

/* The elements, and whether everything between them is as `place` left it. */
static int get_all(const struct placed *p, double *values)
{
    int untouched = 1;
    for (int r = 0; r < p->rows; r++) {
        for (int c = 0; c < p->classes; c++) {
            values[(ptrdiff_t)r * p->classes + c] = get(p, r, c);
            memset(element_of(p, r, c), UNTOUCHED, itemsize(p->dtype));
        }
    }
    for (size_t i = 0; i < p->bytes; i++) {
        untouched &= p->memory[i] == UNTOUCHED;
    }
    return untouched;
}

#endif
