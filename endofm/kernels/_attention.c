/*
 * Softmax attention without gradients on x86-64 processors with AVX-512, for heads of 64 channels.
 *
 * Attention built from general products spends much of its time around them: in a call for every short sequence, in
 * copies between layouts, in passes over scores that have left the core's cache. Here a core processes one head of one
 * sequence at a time. Its keys and values are packed once; then a few queries at a time are multiplied by all keys,
 * normalised by the softmax and multiplied by all values while their scores are in the first-level cache. Scores and
 * sums are float32; in bfloat16 the inputs of both products, including the softmax weights, are rounded to bfloat16.
 *
 * The file depends on nothing but a C compiler: native.py loads it with ctypes and passes attend_float32 and
 * attend_bfloat16 to PyTorch, which calls them from its own threads. attention_level returns which of them work.
 */
#include <stdint.h>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(_WIN32)

#include <stdlib.h>

#include "_vectors.h"

#define BFLOAT16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma,avx512bf16")))

enum {
    HEAD_DIM = 64,
    COLUMNS = HEAD_DIM / LANES, /* registers for the output sums of one query */
    PANELS = 4,                 /* registers of keys at a time */
    ROWS = 6,                   /* queries at a time: 6 x 4 sums, 4 keys and one query fit the 32 registers */
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

/* ---- shared by both types ---- */

/*
 * Transpose 16 x 16 numbers of 32 bits, in four rounds that double the size of the blocks in place: pairs of numbers,
 * pairs of 64 bits, then twice the quarters of the registers.
 */
FLOAT32 INLINE void transpose(__m512i r[LANES]) {
    __m512i s[LANES], t[LANES];
    UNROLLED (int i = 0; i < 16; i += 2) {
        s[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    UNROLLED (int i = 0; i < 16; i += 4) {
        t[i] = _mm512_unpacklo_epi64(s[i], s[i + 2]);
        t[i + 1] = _mm512_unpackhi_epi64(s[i], s[i + 2]);
        t[i + 2] = _mm512_unpacklo_epi64(s[i + 1], s[i + 3]);
        t[i + 3] = _mm512_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
    UNROLLED (int i = 0; i < 4; i++) {
        __m512i a = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x88);
        __m512i c = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xdd), d = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xdd);
        r[i] = _mm512_shuffle_i32x4(a, b, 0x88);
        r[i + 4] = _mm512_shuffle_i32x4(c, d, 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(a, b, 0xdd);
        r[i + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
    }
}

/*
 * Pack keys of `words` 32-bit words each as packed[key / 16][word][key % 16], so that one register holds the same word
 * of 16 keys and a query is multiplied by 16 keys at once. Keys missing from the last 16 are zero.
 */
FLOAT32 INLINE void pack_keys(const workspace *own, const char *keys, int64_t stride, int words) {
    for (int64_t key = 0; key < own->tokens; key += LANES) {
        int64_t here = own->tokens - key;
        char *packed = own->keys + key * words * 4;
        for (int word = 0; word < words; word += LANES) {
            __m512i block[LANES];
            for (int i = 0; i < LANES; i++)
                block[i] = i < here ? _mm512_loadu_si512(keys + (key + i) * stride + word * 4) : _mm512_setzero_si512();
            transpose(block);
            UNROLLED (int i = 0; i < LANES; i++) _mm512_store_si512(packed + (word + i) * WIDTH, block[i]);
        }
    }
}

/* Copy the next queries next to each other; missing ones are zero. */
FLOAT32 INLINE void pack_queries(const workspace *own, const char *queries, int64_t stride, int64_t here, int bytes) {
    for (int i = 0; i < ROWS; i++)
        for (int at = 0; at < bytes; at += WIDTH)
            _mm512_store_si512(own->queries + i * bytes + at,
                               i < here ? _mm512_loadu_si512(queries + i * stride + at) : _mm512_setzero_si512());
}

/*
 * Replace the scores s of a query by e^(SCALE (s - max s)) and return one over their sum. The largest score is
 * subtracted so that no exponential overflows, which leaves the softmax unchanged. The denominator is applied later, to
 * the 64 outputs instead of to every score. Padding beyond the last token counts as -infinity.
 */
FLOAT32 INLINE float softmax(const workspace *own, float *scores) {
    int64_t last = own->padded - LANES;
    __mmask16 there = (__mmask16)(0xffff >> (own->padded - own->tokens));
    __m512 highest = _mm512_mask_load_ps(_mm512_set1_ps(-__builtin_inff()), there, scores + last);
    for (int64_t j = 0; j < last; j += LANES) highest = _mm512_max_ps(highest, _mm512_load_ps(scores + j));
    __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(highest)), scale = _mm512_set1_ps(SCALE);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j <= last; j += LANES) {
        __m512 e = exponential(_mm512_mul_ps(_mm512_sub_ps(_mm512_load_ps(scores + j), top), scale));
        if (j == last) e = _mm512_maskz_mov_ps(there, e);
        _mm512_store_ps(scores + j, e);
        sum = _mm512_add_ps(sum, e);
    }
    return 1.0f / _mm512_reduce_add_ps(sum);
}

/* Call `scores` for all keys: for full groups of PANELS registers, then for the remaining 1 to 3. */
#define FOR_ALL_KEYS(own, scores)                                                                      \
    {                                                                                                  \
        int64_t key = 0;                                                                               \
        for (; key + PANELS * LANES <= (own)->padded; key += PANELS * LANES) scores(own, key, PANELS); \
        switch (((own)->padded - key) / LANES) {                                                       \
            case 3: scores(own, key, 3); break;                                                        \
            case 2: scores(own, key, 2); break;                                                        \
            case 1: scores(own, key, 1); break;                                                        \
        }                                                                                              \
    }

/* Functions that differ between the types. */
typedef void pack_function(const workspace *own, const char *keys, const char *values, int64_t stride);
typedef void rows_function(const workspace *own, const char *queries, int64_t stride, int64_t here, char *out,
                           int64_t out_stride);

static int64_t whole_registers(int64_t bytes) { return (bytes + WIDTH - 1) / WIDTH * WIDTH; }

/* Process the heads from `begin` to `end`, counted over the heads of all sequences. */
static void work_off(int64_t begin, int64_t end, attention_job *job, int size, pack_function *pack,
                     rows_function *attend) {
    workspace own = {.tokens = job->tokens, .padded = (job->tokens + LANES - 1) / LANES * LANES};
    int64_t head_bytes = own.padded * HEAD_DIM * size, row_bytes = own.padded * (int64_t)sizeof(float);
    int64_t query_bytes = ROWS * HEAD_DIM * size, weight_bytes = whole_registers(ROWS * row_bytes);
    char *memory = aligned_alloc(WIDTH, (size_t)(2 * head_bytes + 2 * weight_bytes + query_bytes));
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

/* ---- float32 ---- */

FLOAT32 static void pack_float32(const workspace *own, const char *keys, const char *values, int64_t stride) {
    pack_keys(own, keys, stride, HEAD_DIM);
    for (int64_t t = 0; t < own->tokens; t++) {
        char *to = own->values + t * COLUMNS * WIDTH;
        UNROLLED (int c = 0; c < COLUMNS; c++)
            _mm512_store_si512(to + c * WIDTH, _mm512_loadu_si512(values + t * stride + c * WIDTH));
    }
}

/* Scores of the queries for `panels` registers of keys, one product of ROWS x 16 panels. */
FLOAT32 INLINE void scores_float32(const workspace *own, int64_t key, const int panels) {
    const float *queries = (const float *)own->queries, *keys = (const float *)own->keys + key * HEAD_DIM;
    __m512 sums[ROWS][PANELS];
    UNROLLED (int i = 0; i < ROWS; i++) UNROLLED (int j = 0; j < panels; j++) sums[i][j] = _mm512_setzero_ps();
    for (int c = 0; c < HEAD_DIM; c++) {
        __m512 k[PANELS];
        UNROLLED (int j = 0; j < panels; j++) k[j] = _mm512_load_ps(keys + (j * HEAD_DIM + c) * LANES);
        UNROLLED (int i = 0; i < ROWS; i++) {
            __m512 q = _mm512_set1_ps(queries[i * HEAD_DIM + c]);
            UNROLLED (int j = 0; j < panels; j++) sums[i][j] = _mm512_fmadd_ps(q, k[j], sums[i][j]);
        }
    }
    UNROLLED (int i = 0; i < ROWS; i++)
        UNROLLED (int j = 0; j < panels; j++)
            _mm512_store_ps(own->scores + i * own->padded + key + j * LANES, sums[i][j]);
}

FLOAT32 static void rows_float32(const workspace *own, const char *queries, int64_t stride, int64_t here, char *out,
                                 int64_t out_stride) {
    pack_queries(own, queries, stride, here, HEAD_DIM * 4);
    FOR_ALL_KEYS(own, scores_float32)
    float share[ROWS];
    for (int i = 0; i < ROWS; i++) share[i] = softmax(own, own->scores + i * own->padded);
    __m512 sums[ROWS][COLUMNS];
    UNROLLED (int i = 0; i < ROWS; i++) UNROLLED (int c = 0; c < COLUMNS; c++) sums[i][c] = _mm512_setzero_ps();
    for (int64_t t = 0; t < own->tokens; t++) {
        __m512 v[COLUMNS];
        UNROLLED (int c = 0; c < COLUMNS; c++) v[c] = _mm512_load_ps(own->values + (t * COLUMNS + c) * WIDTH);
        UNROLLED (int i = 0; i < ROWS; i++) {
            __m512 w = _mm512_set1_ps(own->scores[i * own->padded + t]);
            UNROLLED (int c = 0; c < COLUMNS; c++) sums[i][c] = _mm512_fmadd_ps(w, v[c], sums[i][c]);
        }
    }
    UNROLLED (int i = 0; i < ROWS; i++)
        if (i < here)
            UNROLLED (int c = 0; c < COLUMNS; c++)
                _mm512_storeu_ps(out + i * out_stride + c * WIDTH, _mm512_mul_ps(sums[i][c], _mm512_set1_ps(share[i])));
}

/* ---- bfloat16: as above; one instruction multiplies and adds two channels, or two tokens ---- */

/* Values are packed by pairs of tokens: per register 16 channels, each of both tokens; a missing last token is zero. */
BFLOAT16 static void pack_bfloat16(const workspace *own, const char *keys, const char *values, int64_t stride) {
    pack_keys(own, keys, stride, HEAD_DIM / 2);
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
    FOR_ALL_KEYS(own, scores_bfloat16)
    float share[ROWS];
    const int32_t *weights = (const int32_t *)own->weights;
    for (int i = 0; i < ROWS; i++) {
        float *scores = own->scores + i * own->padded;
        share[i] = softmax(own, scores);
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

/* ---- exported functions ---- */

/* 0: this processor has neither kernel; 1: attend_float32; 2: attend_bfloat16 as well. */
int attention_level(void) {
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")))
        return 0;
    return __builtin_cpu_supports("avx512bf16") ? 2 : 1;
}

void attend_float32(int64_t begin, int64_t end, void *job) {
    work_off(begin, end, job, 4, pack_float32, rows_float32);
}

void attend_bfloat16(int64_t begin, int64_t end, void *job) {
    work_off(begin, end, job, 2, pack_bfloat16, rows_bfloat16);
}

#else

int attention_level(void) { return 0; }

#endif
