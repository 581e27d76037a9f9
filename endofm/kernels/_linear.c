/*
 * Linear layers on x86-64 processors with AVX2: in float32, and in 8-bit integers without instructions for them.
 *
 * A block of rows x inputs stays in a core's second-level cache while the weights stream past, in panels of 16 outputs;
 * the part of a panel in use stays in the first-level cache. A tile of 6 rows x 16 outputs is summed in 12 registers.
 * Bias, GELU and residual are applied to it before it is stored for the last time.
 *
 * In 8-bit integers, inputs and weights are widened to 16 bits and multiplied in pairs (vpmaddwd), whose sum has 32 bits.
 * The instruction for bytes (vpmaddubsw) would be twice as fast, but its sums of pairs saturate at 16 bits. A 32-bit word
 * holds either one float32 or two integers of 16 bits, so both kinds of products share everything but one instruction.
 *
 * The file depends on nothing but a C compiler: native_products.py loads it with ctypes and passes linear_float32 and
 * linear_int8 to PyTorch, which calls them from its own threads. linear_level returns whether they work.
 */
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(_WIN32)

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8
#define TARGET __attribute__((target("avx2,fma")))
#include "_vectors.h"

enum {
    ROWS = 6,           /* rows of a tile */
    PANEL = 2 * LANES,  /* outputs of a tile */
    DEPTH = 256,        /* words of a row and of a panel in use at a time: 16 kB of the panel */
    STRIPS = 44,        /* tiles of rows that are kept: 44 x 6 rows x 256 words = 264 kB, half of a small second cache */
};

/* Arguments of a call, the same structure as in native_products.py. All matrices are contiguous. */
typedef struct {
    const float *input;    /* rows x inputs */
    const void *weights;   /* [outputs / 16][words][output] words: float32, or two neighbouring inputs as int16 */
    const float *bias;     /* outputs, or NULL */
    const float *residual; /* rows x outputs, or NULL */
    float *out;            /* rows x outputs; holds sums in between */
    int64_t rows, inputs, outputs;
    int64_t groups; /* groups of outputs: threads divide these among them as well as the rows */
    int64_t gelu;
    int64_t out_of_memory;
    const float *scale; /* outputs: what the sums of integers are multiplied by */
    float step, zero;   /* of the integers q that stand for the inputs: step * (q - zero), q from 0 to 255 */
} linear_job;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* One product of words: float32, or the sum of two products of integers. */
#define FLOAT32(sum, a, b) ((sum) + (a) * (b))
#define INT8(sum, a, b)                                                                                       \
    ((floats8)_mm256_add_epi32((__m256i)(sum), _mm256_madd_epi16((__m256i)(a), (__m256i)(b))))

/* Finish these sums here: a compiler that forms all products of a word first runs out of registers. */
#define KEEP(a, b) __asm__ volatile("" : "+x"(a), "+x"(b));

/*
 * Add the products of some words to a tile of the first `rows` of ROWS packed rows. Compiled apart: inlined into the loops
 * around them, sums no longer fit the registers.
 */
#define DEFINE_TILE(name, MULTIPLY)                                                                               \
    TARGET INLINE void name(const float *input, const float *panel, int64_t words, float *out, int64_t stride,    \
                            int first, const int rows) {                                                          \
        floats8 sums[ROWS][2];                                                                                    \
        UNROLLED (int i = 0; i < rows; i++) UNROLLED (int j = 0; j < 2; j++)                                      \
            sums[i][j] = first ? zero8() : load8(out + i * stride + j * LANES);                                   \
        for (int64_t word = 0; word < words; word++) {                                                            \
            floats8 w0 = load8(panel + word * PANEL), w1 = load8(panel + word * PANEL + LANES);                   \
            UNROLLED (int i = 0; i < rows; i++) {                                                                 \
                floats8 x = (floats8)_mm256_broadcast_ss(input + word * ROWS + i);                                \
                sums[i][0] = MULTIPLY(sums[i][0], x, w0);                                                         \
                sums[i][1] = MULTIPLY(sums[i][1], x, w1);                                                         \
                KEEP(sums[i][0], sums[i][1])                                                                      \
            }                                                                                                     \
        }                                                                                                         \
        UNROLLED (int i = 0; i < rows; i++) UNROLLED (int j = 0; j < 2; j++)                                      \
            store8(out + i * stride + j * LANES, sums[i][j]);                                                     \
    }                                                                                                             \
    TARGET __attribute__((noinline)) static void JOIN(name, _of_rows)(                                            \
        const float *input, const float *panel, int64_t words, float *out, int64_t stride, int first, int64_t rows) { \
        switch (rows) {                                                                                           \
            case 6: name(input, panel, words, out, stride, first, 6); break;                                      \
            case 5: name(input, panel, words, out, stride, first, 5); break;                                      \
            case 4: name(input, panel, words, out, stride, first, 4); break;                                      \
            case 3: name(input, panel, words, out, stride, first, 3); break;                                      \
            case 2: name(input, panel, words, out, stride, first, 2); break;                                      \
            case 1: name(input, panel, words, out, stride, first, 1); break;                                      \
        }                                                                                                         \
    }

DEFINE_TILE(tile_float32, FLOAT32)
DEFINE_TILE(tile_int8, INT8)

/* Scale the sums of a tile if they are integers, add the bias, apply the GELU, add the residual. */
TARGET INLINE void finish(const linear_job *job, int64_t row, int64_t column, int64_t rows, const int integers) {
    for (int64_t i = 0; i < rows; i++)
        for (int j = 0; j < PANEL; j += LANES) {
            int64_t at = (row + i) * job->outputs + column + j;
            floats8 x = load8(job->out + at);
            if (integers) x = (floats8)_mm256_cvtepi32_ps((__m256i)x) * (load8(job->scale + column + j) * job->step);
            if (job->bias) x += load8(job->bias + column + j);
            if (job->gelu) x = gelu8(x);
            if (job->residual) x += load8(job->residual + at);
            store8(job->out + at, x);
        }
}

/* Round some inputs of a row to integers of 16 bits, in pairs; a missing last input is zero. */
TARGET static void round_row(const linear_job *job, const float *from, int64_t inputs, float *words) {
    const floats8 inverse = all8(1 / job->step);
    const __m256i zero = _mm256_set1_epi32((int)job->zero), most = _mm256_set1_epi32(255);
    for (int64_t at = 0; at < inputs; at += LANES) {
        int64_t here = smaller(LANES, inputs - at);
        float some[LANES] = {0};
        memcpy(some, from + at, (size_t)here * sizeof(float));
        __m256i q = _mm256_add_epi32(_mm256_cvtps_epi32((__m256)(load8(some) * inverse)), zero); /* nearest even */
        q = _mm256_sub_epi32(_mm256_min_epi32(_mm256_max_epi32(q, _mm256_setzero_si256()), most), zero);
        __m128i narrow = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
        memcpy(words + at / 2, &narrow, (size_t)((here + 1) / 2) * sizeof(float));
    }
}

/* Pack some words of some rows as [row / 6][word][row % 6], so that what a tile multiplies lies in order. */
TARGET INLINE void pack_rows(const linear_job *job, int64_t row, int64_t rows, int64_t word, int64_t words,
                             float *packed, const int integers) {
    float rounded[ROWS][DEPTH];
    for (int64_t i = 0; i < rows; i += ROWS, packed += ROWS * words) {
        const float *from[ROWS];
        for (int k = 0; k < ROWS; k++) {
            /* Rows that a last tile lacks are copies, which nothing reads. */
            int64_t at = row + smaller(i + k, rows - 1);
            from[k] = job->input + at * job->inputs + (integers ? 2 * word : word);
            if (integers) {
                round_row(job, from[k], smaller(2 * words, job->inputs - 2 * word), rounded[k]);
                from[k] = rounded[k];
            }
        }
        int64_t w = 0;
        for (; w + LANES <= words; w += LANES) {
            floats8 x[ROWS], pairs[4];
            UNROLLED (int k = 0; k < ROWS; k++) x[k] = load8(from[k] + w);
            /* a0 c0 a1 c1 ... and b0 d0 b1 d1 ... give a0 b0 c0 d0 a1 b1 c1 d1 ... of rows a, b, c, d. */
            pairs[0] = low8(x[0], x[2]), pairs[1] = low8(x[1], x[3]);
            pairs[2] = high8(x[0], x[2]), pairs[3] = high8(x[1], x[3]);
            floats8 four[4] = {low8(pairs[0], pairs[1]), high8(pairs[0], pairs[1]), low8(pairs[2], pairs[3]),
                               high8(pairs[2], pairs[3])};
            floats8 two[2] = {low8(x[4], x[5]), high8(x[4], x[5])};
            UNROLLED (int k = 0; k < LANES; k++) {
                float *to = packed + (w + k) * ROWS;
                memcpy(to, (const float *)four + 4 * k, 4 * sizeof(float));
                memcpy(to + 4, (const float *)two + 2 * k, 2 * sizeof(float));
            }
        }
        for (; w < words; w++)
            for (int k = 0; k < ROWS; k++) packed[w * ROWS + k] = from[k][w];
    }
}

/* Multiply some packed rows by one panel; meanwhile fetch the next, a few lines with each tile. */
TARGET INLINE void multiply_panel(const linear_job *job, const float *packed, int64_t row, int64_t rows, int64_t panel,
                                  const float *weights, const float *next, int64_t words, int first, int last,
                                  const int integers) {
    const int64_t lines = (words * ROWS + rows - 1) / rows;
    for (int64_t i = 0; i < rows; i += ROWS) {
        int64_t here = smaller(ROWS, rows - i);
        float *out = job->out + (row + i) * job->outputs + panel * PANEL;
        for (int64_t line = 0; line < lines; line++) __builtin_prefetch(next + (i / ROWS * lines + line) * PANEL);
        (integers ? tile_int8_of_rows : tile_float32_of_rows)(packed + i * words, weights, words, out, job->outputs,
                                                              first, here);
        if (last) finish(job, row + i, panel * PANEL, here, integers);
    }
}

/* Process the tasks from `begin` to `end`: tiles of rows, for one group of outputs after the other. */
TARGET INLINE void work_off(int64_t begin, int64_t end, linear_job *job, const int integers) {
    const int64_t strips = (job->rows + ROWS - 1) / ROWS, panels = job->outputs / PANEL;
    const int64_t all = integers ? (job->inputs + 1) / 2 : job->inputs;
    float *packed = aligned_alloc(64, STRIPS * ROWS * DEPTH * sizeof(float));
    if (packed == NULL) {
        job->out_of_memory = 1;
        return;
    }
    for (int64_t task = begin, count; task < end; task += count) {
        int64_t group = task / strips, strip = task % strips;
        int64_t start = panels * group / job->groups, stop = panels * (group + 1) / job->groups;
        /* The strips left in this group, in equal portions. */
        count = smaller(strips - strip, end - task);
        const int64_t portions = (count + STRIPS - 1) / STRIPS;
        count = (count + portions - 1) / portions;
        const int64_t row = strip * ROWS, rows = smaller(count * ROWS, job->rows - row);
        for (int64_t word = 0; word < all; word += DEPTH) {
            int64_t words = smaller(DEPTH, all - word);
            pack_rows(job, row, rows, word, words, packed, integers);
            for (int64_t panel = start; panel < stop; panel++) {
                const float *weights = (const float *)job->weights + (panel * all + word) * PANEL;
                multiply_panel(job, packed, row, rows, panel, weights, weights + all * PANEL, words, word == 0,
                               word + words == all, integers);
            }
        }
    }
    free(packed);
}

TARGET void linear_float32(int64_t begin, int64_t end, void *job) { work_off(begin, end, job, 0); }

TARGET void linear_int8(int64_t begin, int64_t end, void *job) { work_off(begin, end, job, 1); }

/* 1 if this processor has AVX2 and multiply-adds, else 0. */
int linear_level(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

#else

int linear_level(void) { return 0; }

#endif
