/*
 * Vectors of LANES float32 numbers, written with the vector types of GCC and Clang, so that one source serves every
 * processor. Include it once for each number of lanes:
 *
 *     #define LANES 8
 *     #define TARGET __attribute__((target("avx2,fma")))
 *     #include "_vectors.h"
 *
 * N(name) then is the name of the functions and types of this width, such as exponential8. Products and sums in one
 * expression become multiply-adds, which both compilers do by default.
 */
#ifndef ENDOFM_VECTORS_H
#define ENDOFM_VECTORS_H

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)") for
#else
#define UNROLLED _Pragma("GCC unroll 16") for
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define N(name) JOIN(name, LANES)

#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (N(ints)){__VA_ARGS__})
#endif

#endif

#undef LOW
#undef HIGH
#undef INDEX
#if LANES == 16
#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define INDEX 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#elif LANES == 8
#define LOW 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH 4, 12, 5, 13, 6, 14, 7, 15
#define INDEX 0, 1, 2, 3, 4, 5, 6, 7
#else
#define LOW 0, 4, 1, 5
#define HIGH 2, 6, 3, 7
#define INDEX 0, 1, 2, 3
#endif

typedef float N(floats) __attribute__((vector_size(4 * LANES)));
typedef int32_t N(ints) __attribute__((vector_size(4 * LANES)));
typedef float N(unaligned) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

TARGET INLINE N(floats) N(load)(const void *from) { return *(const N(unaligned) *)from; }
TARGET INLINE void N(store)(void *to, N(floats) x) { *(N(unaligned) *)to = x; }
TARGET INLINE N(floats) N(all)(float x) { return x - (N(floats)){0}; }
TARGET INLINE N(floats) N(zero)(void) { return (N(floats)){0}; }

/* Where `mask` has all bits set, the first; where none, the second. */
TARGET INLINE N(floats) N(select)(N(ints) mask, N(floats) first, N(floats) second) {
    return (N(floats))((mask & (N(ints))first) | (~mask & (N(ints))second));
}

/* All bits of the first `count` lanes. */
TARGET INLINE N(ints) N(first)(int64_t count) { return (N(ints)){INDEX} < (int32_t)count; }

/* The larger of each two; if one is not a number, the second. The instructions of x86-64 are defined in the same way. */
TARGET INLINE N(floats) N(larger)(N(floats) a, N(floats) b) {
#if LANES == 16
    return _mm512_max_ps(a, b);
#elif LANES == 8
    return _mm256_max_ps(a, b);
#else
    return N(select)(a > b, a, b);
#endif
}

/* p 2^n, for p near 1 and n of at least -150; k holds the integers n. */
TARGET INLINE N(floats) N(scale)(N(floats) p, N(floats) n, N(ints) k) {
#if LANES == 16
    (void)k;
    return _mm512_scalef_ps(p, n);
#else
    /* 2^n as two powers, each of which is a normal number. */
    N(ints) half = k >> 1;
    (void)n;
    return p * (N(floats))((half + 127) << 23) * (N(floats))((k - half + 127) << 23);
#endif
}

/* a0 b0 a1 b1 ... of the first halves of two vectors, and of their second halves. */
TARGET INLINE N(floats) N(low)(N(floats) a, N(floats) b) { return SHUFFLE(a, b, LOW); }
TARGET INLINE N(floats) N(high)(N(floats) a, N(floats) b) { return SHUFFLE(a, b, HIGH); }

/* The sum, or the largest, of all lanes, in every lane: each step joins the halves, until all lanes are equal. */
TARGET INLINE N(floats) N(sum)(N(floats) x) {
    UNROLLED (int left = LANES; left > 1; left /= 2) x = N(low)(x, x) + N(high)(x, x);
    return x;
}

TARGET INLINE N(floats) N(largest)(N(floats) x) {
    UNROLLED (int left = LANES; left > 1; left /= 2) x = N(larger)(N(low)(x, x), N(high)(x, x));
    return x;
}

/*
 * e^x for x <= 0: x = n ln 2 + r with an integer n and |r| <= ln 2 / 2, so e^x = 2^n e^r. e^r is its Taylor polynomial
 * of degree 7: the first omitted term, r^8 / 8!, is below 6e-9, a tenth of float32's rounding. Below -104 e^x is 0 in
 * float32; not-a-number stays that.
 */
TARGET INLINE N(floats) N(exponential)(N(floats) x) {
    x = N(larger)(N(all)(-104.0f), x);
    /* Adding 1.5 * 2^23 rounds to an integer, which then is in the lowest bits. */
    const float magic = 0x1.8p23f;
    N(floats) shifted = x * 0x1.715476p+0f + magic, n = shifted - magic;
    /* ln 2 in two parts, of which n times the first is exact. */
    N(floats) r = x - n * 0x1.62e4p-1f;
    r = r - n * 0x1.7f7d1cp-20f;
    N(floats) p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return N(scale)(p, n, (N(ints))shifted - (N(ints))N(all)(magic));
}

/*
 * GELU: x (1 + erf(x / sqrt 2)) / 2, with 1 - erf(z) = (a1 t + ... + a5 t^5) e^(-z^2) and t = 1 / (1 + p z) for z >= 0,
 * whose error is at most 1.5e-7 (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26). With
 * Q = (1 - erf(|x| / sqrt 2)) / 2, the upper tail of the normal distribution, GELU is x - x Q for x > 0, else x Q.
 */
TARGET INLINE N(floats) N(gelu)(N(floats) x) {
    N(floats) z = (N(floats))((N(ints))x & 0x7fffffff) * 0.70710678f, t = 1 / (z * 0.3275911f + 1);
    N(floats) p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    N(floats) tail = x * 0.5f * (p * t * N(exponential)(-z * z)); /* x Q */
    return N(select)(x > N(zero)(), x - tail, tail);
}
