/*
 * Attention in float32 for one width of registers; _attention.c includes this file for each, with LANES, TARGET and
 *
 *     PANELS   registers of keys, or of output channels, at a time: ROWS x PANELS sums, PANELS keys and one query have to
 *              fit the registers
 *
 * The workspace and ROWS are the same for all widths.
 */
#include "_vectors.h"

/*
 * Transpose LANES x LANES numbers of 32 bits. Interleaving the first half of the rows with the second rotates the bits of
 * a number's position (row, column) by one; after as many rounds as a row has bits, row and column have changed places.
 */
TARGET INLINE void N(transpose)(N(floats) r[LANES]) {
    UNROLLED (int left = LANES; left > 1; left /= 2) {
        N(floats) s[LANES];
        UNROLLED (int i = 0; i < LANES / 2; i++) {
            s[2 * i] = N(low)(r[i], r[i + LANES / 2]);
            s[2 * i + 1] = N(high)(r[i], r[i + LANES / 2]);
        }
        UNROLLED (int i = 0; i < LANES; i++) r[i] = s[i];
    }
}

/*
 * Pack keys of `words` 32-bit words each as packed[key / LANES][word][key % LANES], so that one register holds the same
 * word of LANES keys and a query is multiplied by as many keys at once. Keys missing from the last register are zero.
 */
TARGET INLINE void N(pack_keys)(const workspace *own, const char *keys, int64_t stride, int words) {
    for (int64_t key = 0; key < own->tokens; key += LANES) {
        int64_t here = own->tokens - key;
        float *packed = (float *)own->keys + key * words;
        for (int word = 0; word < words; word += LANES) {
            N(floats) block[LANES];
            for (int i = 0; i < LANES; i++)
                block[i] = i < here ? N(load)(keys + (key + i) * stride + word * 4) : N(zero)();
            N(transpose)(block);
            UNROLLED (int i = 0; i < LANES; i++) N(store)(packed + (word + i) * LANES, block[i]);
        }
    }
}

/*
 * Replace the scores s of a query by e^(SCALE (s - max s)) and return one over their sum. The largest score is
 * subtracted so that no exponential overflows, which leaves the softmax unchanged. The denominator is applied later, to
 * the 64 outputs instead of to every score. Padding beyond the last token counts as -infinity.
 */
TARGET INLINE float N(softmax)(const workspace *own, float *scores) {
    int64_t last = own->padded - LANES;
    N(ints) there = N(first)(own->tokens - last);
    N(floats) highest = N(select)(there, N(load)(scores + last), N(all)(-__builtin_inff()));
    for (int64_t j = 0; j < last; j += LANES) highest = N(larger)(highest, N(load)(scores + j));
    N(floats) top = N(largest)(highest), sum = N(zero)();
    for (int64_t j = 0; j <= last; j += LANES) {
        N(floats) e = N(exponential)((N(load)(scores + j) - top) * SCALE);
        if (j == last) e = (N(floats))(there & (N(ints))e);
        N(store)(scores + j, e);
        sum += e;
    }
    return 1.0f / N(sum)(sum)[0];
}

TARGET static void N(pack)(const workspace *own, const char *keys, const char *values, int64_t stride) {
    N(pack_keys)(own, keys, stride, HEAD_DIM);
    for (int64_t t = 0; t < own->tokens; t++) {
        float *to = (float *)own->values + t * HEAD_DIM;
        UNROLLED (int c = 0; c < HEAD_DIM; c += LANES) N(store)(to + c, N(load)(values + t * stride + c * 4));
    }
}

/* Scores of the queries for `panels` registers of keys, one product of ROWS x LANES panels. */
TARGET INLINE void N(scores)(const workspace *own, int64_t key, const int panels) {
    const float *queries = (const float *)own->queries, *keys = (const float *)own->keys + key * HEAD_DIM;
    N(floats) sums[ROWS][PANELS];
    UNROLLED (int i = 0; i < ROWS; i++) UNROLLED (int j = 0; j < panels; j++) sums[i][j] = N(zero)();
    for (int c = 0; c < HEAD_DIM; c++) {
        N(floats) k[PANELS];
        UNROLLED (int j = 0; j < panels; j++) k[j] = N(load)(keys + (j * HEAD_DIM + c) * LANES);
        UNROLLED (int i = 0; i < ROWS; i++) {
            N(floats) q = N(all)(queries[i * HEAD_DIM + c]);
            UNROLLED (int j = 0; j < panels; j++) sums[i][j] += q * k[j];
        }
    }
    UNROLLED (int i = 0; i < ROWS; i++)
        UNROLLED (int j = 0; j < panels; j++)
            N(store)(own->scores + i * own->padded + key + j * LANES, sums[i][j]);
}

TARGET static void N(rows)(const workspace *own, const char *queries, int64_t stride, int64_t here, char *out,
                           int64_t out_stride) {
    pack_queries(own, queries, stride, here, HEAD_DIM * 4);
    FOR_ALL_KEYS(own, N(scores), LANES, PANELS)
    float share[ROWS];
    for (int i = 0; i < ROWS; i++) share[i] = N(softmax)(own, own->scores + i * own->padded);
    for (int c = 0; c < HEAD_DIM; c += PANELS * LANES) {
        const float *values = (const float *)own->values + c;
        N(floats) sums[ROWS][PANELS];
        UNROLLED (int i = 0; i < ROWS; i++) UNROLLED (int j = 0; j < PANELS; j++) sums[i][j] = N(zero)();
        for (int64_t t = 0; t < own->tokens; t++) {
            N(floats) v[PANELS];
            UNROLLED (int j = 0; j < PANELS; j++) v[j] = N(load)(values + t * HEAD_DIM + j * LANES);
            UNROLLED (int i = 0; i < ROWS; i++) {
                N(floats) w = N(all)(own->scores[i * own->padded + t]);
                UNROLLED (int j = 0; j < PANELS; j++) sums[i][j] += w * v[j];
            }
        }
        UNROLLED (int i = 0; i < ROWS; i++)
            if (i < here)
                UNROLLED (int j = 0; j < PANELS; j++)
                    N(store)(out + i * out_stride + (c + j * LANES) * 4, sums[i][j] * share[i]);
    }
}

void JOIN(attend_float32_, LANES)(int64_t begin, int64_t end, void *job) {
    work_off(begin, end, job, LANES, 4, N(pack), N(rows));
}
