/* Shared by the compiled kernels: vectors of 16 float32 numbers on x86-64 processors with AVX-512. */
#ifndef ENDOFM_VECTORS_H
#define ENDOFM_VECTORS_H

#include <immintrin.h>

#define FLOAT32 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)") for
#else
#define UNROLLED _Pragma("GCC unroll 8") for
#endif

enum {
    LANES = 16, /* 32-bit numbers in a register: one float32 or two bfloat16 each */
    WIDTH = 64, /* bytes in a register */
};

/*
 * e^x for x <= 0: x = n ln 2 + r with an integer n and |r| <= ln 2 / 2, so e^x = 2^n e^r. e^r is its Taylor polynomial
 * of degree 7: the first omitted term, r^8 / 8!, is below 6e-9, a tenth of float32's rounding. Below -104 e^x is 0 in
 * float32, and x is clamped so that n stays a valid exponent; the order of the operands of max keeps not-a-number.
 */
FLOAT32 INLINE __m512 exponential(__m512 x) {
    x = _mm512_max_ps(_mm512_set1_ps(-104.0f), x);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(0x1.715476p+0f)), _MM_FROUND_TO_NEAREST_INT);
    /* ln 2 in two parts, of which n times the first is exact. */
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.62e4p-1f), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0x1.7f7d1cp-20f), r);
    __m512 p = _mm512_set1_ps(1.0f / 5040);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 720));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 120));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 24));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f / 6));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.5f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}

#endif
