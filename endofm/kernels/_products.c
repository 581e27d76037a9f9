/*
 * Linear layers in float32 on x86-64 processors whose matrix unit (AMX) multiplies only bfloat16.
 *
 * A float32 number is the sum of three bfloat16 numbers, each of which holds 8 of its 24 bits: x = x0 + x1 + x2, where
 * x1 is about 2^-8 and x2 about 2^-16 of x0. Of the nine products x_i w_j of two such sums, which are about 2^-8(i + j)
 * of the first, the six with i + j <= 2 are formed by the matrix unit and added in float32; the other three are about
 * the rounding of a float32 product (Henry, Tang and Heinecke, arXiv 1904.06376). That is six times as many products,
 * and still faster, because the unit multiplies sixteen times as fast as the vector units.
 *
 * Weights are passed split and in the unit's order. A core splits some rows of the input at a time, which then stay in
 * its second-level cache while the weights stream past. Bias, GELU and residual are applied while a block of the result
 * is in the first-level cache.
 *
 * The file depends on nothing but a C compiler: native.py loads it with ctypes and passes `multiply` to PyTorch, which
 * calls it from its own threads. products_level returns whether it works.
 */
#include <stdint.h>

#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)

#include <cpuid.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LANES 16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#include "_vectors.h"

#define MATRIX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16,amx-tile,amx-bf16")))

enum {
    SIDE = 16,             /* rows of a tile; it is 64 bytes wide */
    BLOCK = 2 * SIDE,      /* rows and columns of the result computed at a time, in 2 x 2 tiles */
    STEP = 32,             /* inputs per tile */
    PARTS = 3,             /* bfloat16 numbers that make up one float32 */
    TILE = SIDE * STEP,    /* numbers in a tile */
    STEPS = 24,            /* steps whose split rows are kept; more inputs are summed in several rounds */
    STRIPS = 6,            /* blocks of rows that are kept: 6 x 24 steps x 6 kB = 0.9 MB of the second cache's 2 MB */
};

/* Arguments of a call, the same structure as in native_products.py. All matrices are contiguous. */
typedef struct {
    const float *input;      /* rows x inputs */
    const uint16_t *weights; /* [outputs / 32][inputs / 32][part][half of the outputs][pair of inputs][output][2] */
    const float *bias;       /* outputs, or NULL */
    const float *residual;   /* rows x outputs, or NULL */
    float *out;              /* rows x outputs */
    int64_t rows, inputs, outputs;
    int64_t groups; /* groups of outputs: threads divide these among them as well as the rows */
    int64_t gelu;
    int64_t out_of_memory;
} product_job;

typedef struct {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
} tile_shapes;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/*
 * Split 32 numbers into three parts: each part is the bfloat16 nearest to the remainder, and is subtracted from it. The
 * subtraction is exact. A bfloat16 number is the upper half of a float32 number, hence the shift by 16 bits.
 */
MATRIX INLINE void split(__m512 low, __m512 high, uint16_t *to) {
    UNROLLED (int part = 0; part < PARTS; part++) {
        __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(high, low);
        _mm512_store_si512(to + part * 2 * TILE, rounded);
        low = _mm512_sub_ps(low, (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(rounded)), 16));
        high = _mm512_sub_ps(
            high, (__m512)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(rounded, 1)), 16));
    }
}

/* Split a block of rows as [step][part][half of the rows][row][input]; missing rows are zero. */
MATRIX static void split_rows(const float *input, int64_t stride, int64_t rows, int64_t steps, uint16_t *to) {
    for (int64_t row = 0; row < BLOCK; row++) {
        uint16_t *at = to + row / SIDE * TILE + row % SIDE * STEP;
        const float *from = input + row * stride;
        for (int64_t step = 0; step < steps; step++, at += 2 * PARTS * TILE, from += STEP) {
            __m512 zero = _mm512_setzero_ps();
            split(row < rows ? _mm512_loadu_ps(from) : zero, row < rows ? _mm512_loadu_ps(from + LANES) : zero, at);
        }
    }
}

/* Tiles 0 to 3 hold the sums of the 2 x 2 tiles, 4 and 5 the halves of the rows, 6 and 7 those of the weights. */
#define LOAD_ROWS(part)                                           \
    {                                                             \
        const uint16_t *from = rows + (part) * 2 * TILE;          \
        _tile_loadd(4, from, 2 * STEP);                           \
        _tile_loadd(5, from + TILE, 2 * STEP);                    \
    }
#define LOAD_WEIGHTS(part)                                        \
    {                                                             \
        const uint16_t *from = weights + (part) * 2 * TILE;       \
        _tile_loadd(6, from, 2 * STEP);                           \
        _tile_loadd(7, from + TILE, 2 * STEP);                    \
    }
#define MULTIPLY                                                  \
    {                                                             \
        _tile_dpbf16ps(0, 4, 6);                                  \
        _tile_dpbf16ps(1, 4, 7);                                  \
        _tile_dpbf16ps(2, 5, 6);                                  \
        _tile_dpbf16ps(3, 5, 7);                                  \
    }

/* Multiply a block of split rows with 32 outputs; the sums are 32 x 32. */
MATRIX static void multiply_block(const uint16_t *rows, const uint16_t *weights, int64_t steps, float *sums) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (; steps > 0; steps--, rows += 2 * PARTS * TILE, weights += 2 * PARTS * TILE) {
        /* The six products of parts i of the rows and j of the weights with i + j <= 2, the largest last, in an order
           in which one of the two factors stays loaded. */
        LOAD_ROWS(0) LOAD_WEIGHTS(2) MULTIPLY /* 0, 2 */
        LOAD_WEIGHTS(1) MULTIPLY              /* 0, 1 */
        LOAD_ROWS(1) MULTIPLY                 /* 1, 1 */
        LOAD_WEIGHTS(0) MULTIPLY              /* 1, 0 */
        LOAD_ROWS(2) MULTIPLY                 /* 2, 0 */
        LOAD_ROWS(0) MULTIPLY                 /* 0, 0 */
    }
    const int64_t stride = BLOCK * sizeof(float);
    _tile_stored(0, sums, stride);
    _tile_stored(1, sums + SIDE, stride);
    _tile_stored(2, sums + SIDE * BLOCK, stride);
    _tile_stored(3, sums + SIDE * BLOCK + SIDE, stride);
}

/* Add the sums of a block to the output; in the last round add the bias, apply the GELU and add the residual. */
MATRIX static void finish(const product_job *job, const float *sums, int64_t row, int64_t column, int first, int last) {
    int64_t here = smaller(BLOCK, job->rows - row);
    for (int64_t i = 0; i < here; i++) {
        int64_t at = (row + i) * job->outputs + column;
        for (int c = 0; c < BLOCK; c += LANES) {
            __m512 x = _mm512_load_ps(sums + i * BLOCK + c);
            if (!first) x = _mm512_add_ps(x, _mm512_loadu_ps(job->out + at + c));
            if (last) {
                if (job->bias) x = _mm512_add_ps(x, _mm512_loadu_ps(job->bias + column + c));
                if (job->gelu) x = gelu16(x);
                if (job->residual) x = _mm512_add_ps(x, _mm512_loadu_ps(job->residual + at + c));
            }
            _mm512_storeu_ps(job->out + at + c, x);
        }
    }
}

/* Compute some columns, counted in blocks, of some rows: at most as many as `held` has room for. */
MATRIX static void multiply_rows(const product_job *job, int64_t row, int64_t strips, int64_t column, int64_t columns,
                                 uint16_t *held, float *sums) {
    const int64_t all = job->inputs / STEP, rounds = (all + STEPS - 1) / STEPS;
    for (int64_t round = 0; round < rounds; round++) {
        int64_t step = all * round / rounds, steps = all * (round + 1) / rounds - step;
        const int64_t size = steps * 2 * PARTS * TILE;
        for (int64_t strip = 0; strip < strips; strip++) {
            int64_t at = row + strip * BLOCK;
            split_rows(job->input + at * job->inputs + step * STEP, job->inputs, job->rows - at, steps,
                       held + strip * size);
        }
        for (int64_t c = column; c < column + columns; c++) {
            const uint16_t *weights = job->weights + (c * all + step) * 2 * PARTS * TILE;
            for (int64_t strip = 0; strip < strips; strip++) {
                multiply_block(held + strip * size, weights, steps, sums);
                finish(job, sums, row + strip * BLOCK, c * BLOCK, round == 0, round == rounds - 1);
            }
        }
    }
}

/* Process the tasks from `begin` to `end`: blocks of rows, for one group of outputs after the other. */
MATRIX static void work_off(int64_t begin, int64_t end, product_job *job) {
    const int64_t strips = (job->rows + BLOCK - 1) / BLOCK, columns = job->outputs / BLOCK;
    const int64_t split_bytes = STRIPS * STEPS * 2 * PARTS * TILE * (int64_t)sizeof(uint16_t);
    char *memory = aligned_alloc(64, (size_t)(split_bytes + BLOCK * BLOCK * (int64_t)sizeof(float)));
    if (memory == NULL) {
        job->out_of_memory = 1;
        return;
    }
    tile_shapes shapes = {.palette = 1};
    for (int i = 0; i < 8; i++) shapes.bytes[i] = 2 * STEP, shapes.rows[i] = SIDE;
    _tile_loadconfig(&shapes);
    for (int64_t task = begin, count; task < end; task += count) {
        int64_t group = task / strips, strip = task % strips;
        int64_t column = columns * group / job->groups, stop = columns * (group + 1) / job->groups;
        /* The strips left in this group, in equal portions: the weights are read once for each portion. */
        count = smaller(strips - strip, end - task);
        const int64_t portions = (count + STRIPS - 1) / STRIPS;
        count = (count + portions - 1) / portions;
        multiply_rows(job, strip * BLOCK, count, column, stop - column, (uint16_t *)memory,
                      (float *)(memory + split_bytes));
    }
    _tile_release();
    free(memory);
}

void multiply(int64_t begin, int64_t end, void *job) { work_off(begin, end, job); }

/*
 * 1 if this processor has the matrix unit (AMX-TILE and AMX-BF16) and AVX512-BF16, and Linux lets this process use the
 * unit, which a process has to request; else 0.
 */
int products_level(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & 1u << 22) || !(d & 1u << 24)) return 0;
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & 1u << 5)) return 0; /* AVX512-BF16 */
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
}

#else

int products_level(void) { return 0; }

#endif
