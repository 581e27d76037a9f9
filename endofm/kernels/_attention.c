/*
 * Softmax attention without gradients for heads of 64 channels: in float32 on x86-64 processors with AVX-512 or AVX2 and
 * on 64-bit ARM processors, in bfloat16 on x86-64 processors with AVX512-BF16.
 *
 * Attention built from general products spends much of its time around them: in a call for every short sequence, in
 * copies between layouts, in passes over scores that have left the core's cache. Here a core processes one head of one
 * sequence at a time. Its keys and values are packed once; then a few queries at a time are multiplied by all keys,
 * normalised by the softmax and multiplied by all values while their scores are in the first-level cache. Scores and
 * sums are float32; in bfloat16 the inputs of both products, including the softmax weights, are rounded to bfloat16.
 *
 * The file depends on nothing but a C compiler: native.py loads it with ctypes and passes one of its functions to
 * PyTorch, which calls it from its own threads. attention_lanes and attention_bfloat16 return which of them work.
 */
#include <stdint.h>

#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__GNUC__) && !defined(_WIN32)

#include <stdlib.h>
#include <string.h>

enum {
    HEAD_DIM = 64,
    ROWS = 6,        /* queries at a time */
    ALIGNMENT = 64,  /* bytes of the widest register */
};
#define SCALE 0.125f /* 1 / sqrt(HEAD_DIM) */

/* Arguments of a call, the same structure as in native.py. Strides are in bytes and equal for the three inputs. */
typedef struct {
    const char *queries, *keys, *values;
    char *out;
    int64_t heads, tokens;
    int64_t sequence_stride, head_stride, token_stride;
    int64_t out_sequence_stride, out_head_stride, out_token_stride;
    int64_t out_of_memory;
} attention_job;

/* Memory of one thread: the keys and values of a head, and a few queries with their scores and weights. */
typedef struct {
    char *queries, *keys, *values, *weights;
    float *scores;
    int64_t tokens, padded; /* padded: tokens, rounded up to full registers */
} workspace;

/* Copy the next queries next to each other; missing ones are zero. */
static void pack_queries(const workspace *own, const char *queries, int64_t stride, int64_t here, int bytes) {
    for (int i = 0; i < ROWS; i++)
        if (i < here)
            memcpy(own->queries + i * bytes, queries + i * stride, (size_t)bytes);
        else
            memset(own->queries + i * bytes, 0, (size_t)bytes);
}

/* Call `scores` for all keys: for full groups of registers, then for one register at a time. */
#define FOR_ALL_KEYS(own, scores, lanes, panels)                                                       \
    {                                                                                                  \
        int64_t key = 0;                                                                               \
        for (; key + panels * lanes <= (own)->padded; key += panels * lanes) scores(own, key, panels); \
        for (; key < (own)->padded; key += lanes) scores(own, key, 1);                                 \
    }

/* Functions that differ between widths and types. */
typedef void pack_function(const workspace *own, const char *keys, const char *values, int64_t stride);
typedef void rows_function(const workspace *own, const char *queries, int64_t stride, int64_t here, char *out,
                           int64_t out_stride);

static int64_t rounded_up(int64_t number, int64_t step) { return (number + step - 1) / step * step; }

/* Process the heads from `begin` to `end`, counted over the heads of all sequences. */
static void work_off(int64_t begin, int64_t end, attention_job *job, int lanes, int size, pack_function *pack,
                     rows_function *attend) {
    workspace own = {.tokens = job->tokens, .padded = rounded_up(job->tokens, lanes)};
    int64_t head_bytes = rounded_up(own.padded * HEAD_DIM * size, ALIGNMENT);
    int64_t weight_bytes = rounded_up(ROWS * own.padded * (int64_t)sizeof(float), ALIGNMENT);
    int64_t query_bytes = ROWS * HEAD_DIM * size;
    char *memory = aligned_alloc(ALIGNMENT, (size_t)(2 * head_bytes + 2 * weight_bytes + query_bytes));
    if (memory == NULL) {
        job->out_of_memory = 1;
        return;
    }
    own.keys = memory;
    own.values = own.keys + head_bytes;
    own.queries = own.values + head_bytes;
    own.weights = own.queries + query_bytes;
    own.scores = (float *)(own.weights + weight_bytes);
    for (int64_t i = begin; i < end; i++) {
        int64_t sequence = i / job->heads, head = i % job->heads;
        int64_t at = sequence * job->sequence_stride + head * job->head_stride;
        char *out = job->out + sequence * job->out_sequence_stride + head * job->out_head_stride;
        pack(&own, job->keys + at, job->values + at, job->token_stride);
        for (int64_t t = 0; t < own.tokens; t += ROWS)
            attend(&own, job->queries + at + t * job->token_stride, job->token_stride, own.tokens - t,
                   out + t * job->out_token_stride, job->out_token_stride);
    }
    free(memory);
}

#if defined(__x86_64__)

/* 16 registers: 6 x 2 sums, 2 keys and one query. */
#define LANES 8
#define PANELS 2
#define TARGET __attribute__((target("avx2,fma")))
#include "_attention_width.h"
#undef LANES
#undef PANELS
#undef TARGET

/* 32 registers: 6 x 4 sums, 4 keys and one query. */
#define LANES 16
#define PANELS 4
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#include "_attention_width.h"

#define BFLOAT16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16")))

enum {
    COLUMNS = HEAD_DIM / LANES, /* registers for the output sums of one query */
    WIDTH = 64,                 /* bytes in a register */
};

/* ---- bfloat16: as in float32; one instruction multiplies and adds two channels, or two tokens ---- */

/* Values are packed by pairs of tokens: per register 16 channels, each of both tokens; a missing last token is zero. */
BFLOAT16 static void pack_bfloat16(const workspace *own, const char *keys, const char *values, int64_t stride) {
    pack_keys16(own, keys, stride, HEAD_DIM / 2);
    const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                         5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(LANES));
    for (int64_t t = 0; t < own->tokens; t += 2)
        for (int c = 0; c < COLUMNS; c += 2) {
            const char *from = values + t * stride + c / 2 * WIDTH;
            char *to = own->values + (t / 2 * COLUMNS + c) * WIDTH;
            __m512i first = _mm512_loadu_si512(from);
            __m512i second = t + 1 < own->tokens ? _mm512_loadu_si512(from + stride) : _mm512_setzero_si512();
            _mm512_store_si512(to, _mm512_permutex2var_epi16(first, low, second));
            _mm512_store_si512(to + WIDTH, _mm512_permutex2var_epi16(first, high, second));
        }
}

BFLOAT16 INLINE void scores_bfloat16(const workspace *own, int64_t key, const int panels) {
    const int32_t *queries = (const int32_t *)own->queries;
    const char *keys = own->keys + key * HEAD_DIM * 2;
    __m512 sums[ROWS][PANELS];
    UNROLLED (int i = 0; i < ROWS; i++) UNROLLED (int j = 0; j < panels; j++) sums[i][j] = _mm512_setzero_ps();
    for (int c = 0; c < HEAD_DIM / 2; c++) {
        __m512bh k[PANELS];
        UNROLLED (int j = 0; j < panels; j++)
            k[j] = (__m512bh)_mm512_load_si512(keys + (j * (HEAD_DIM / 2) + c) * WIDTH);
        UNROLLED (int i = 0; i < ROWS; i++) {
            __m512bh q = (__m512bh)_mm512_set1_epi32(queries[i * (HEAD_DIM / 2) + c]);
            UNROLLED (int j = 0; j < panels; j++) sums[i][j] = _mm512_dpbf16_ps(sums[i][j], q, k[j]);
        }
    }
    UNROLLED (int i = 0; i < ROWS; i++)
        UNROLLED (int j = 0; j < panels; j++)
            _mm512_store_ps(own->scores + i * own->padded + key + j * LANES, sums[i][j]);
}

BFLOAT16 static void rows_bfloat16(const workspace *own, const char *queries, int64_t stride, int64_t here, char *out,
                                   int64_t out_stride) {
    pack_queries(own, queries, stride, here, HEAD_DIM * 2);
    FOR_ALL_KEYS(own, scores_bfloat16, LANES, PANELS)
    float share[ROWS];
    const int32_t *weights = (const int32_t *)own->weights;
    for (int i = 0; i < ROWS; i++) {
        float *scores = own->scores + i * own->padded;
        share[i] = softmax16(own, scores);
        for (int64_t j = 0; j < own->padded; j += LANES)
            _mm256_store_si256((__m256i *)(own->weights + (i * own->padded + j) * 2),
                               (__m256i)_mm512_cvtneps_pbh(_mm512_load_ps(scores + j)));
    }
    __m512 sums[ROWS][COLUMNS];
    UNROLLED (int i = 0; i < ROWS; i++) UNROLLED (int c = 0; c < COLUMNS; c++) sums[i][c] = _mm512_setzero_ps();
    for (int64_t t = 0; t < (own->tokens + 1) / 2; t++) {
        __m512bh v[COLUMNS];
        UNROLLED (int c = 0; c < COLUMNS; c++)
            v[c] = (__m512bh)_mm512_load_si512(own->values + (t * COLUMNS + c) * WIDTH);
        UNROLLED (int i = 0; i < ROWS; i++) {
            __m512bh w = (__m512bh)_mm512_set1_epi32(weights[i * own->padded / 2 + t]);
            UNROLLED (int c = 0; c < COLUMNS; c++) sums[i][c] = _mm512_dpbf16_ps(sums[i][c], w, v[c]);
        }
    }
    UNROLLED (int i = 0; i < ROWS; i++)
        if (i < here)
            UNROLLED (int c = 0; c < COLUMNS; c++)
                _mm256_storeu_si256((__m256i *)(out + i * out_stride + c * WIDTH / 2),
                                    (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(sums[i][c], _mm512_set1_ps(share[i]))));
}

void attend_bfloat16(int64_t begin, int64_t end, void *job) {
    work_off(begin, end, job, LANES, 2, pack_bfloat16, rows_bfloat16);
}

/* The widest registers, in float32 numbers, for which this processor has a function; 0 for none. */
int attention_lanes(void) {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
        return 16;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 8 : 0;
}

/* Whether a processor of 16 lanes can run attend_bfloat16. */
int attention_bfloat16(void) { return __builtin_cpu_supports("avx512bf16") != 0; }

#else

/* 32 registers, as with AVX-512. */
#define LANES 4
#define PANELS 4
#define TARGET
#include "_attention_width.h"

int attention_lanes(void) { return LANES; }

int attention_bfloat16(void) { return 0; }

#endif

#else

int attention_lanes(void) { return 0; }

int attention_bfloat16(void) { return 0; }

#endif
