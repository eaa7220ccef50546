/* screen_sum.h - for screens that have AVX2: the sum of eight floats. Local. */
#ifndef NPR_SEARCH_SCREEN_SUM_H
#define NPR_SEARCH_SCREEN_SUM_H

#if defined(__x86_64__)
#include <immintrin.h>

/* Always in the same order: halves, then quarters, then neighbours. */
__attribute__((target("avx2,fma,f16c"))) static inline float npr_sum_of_lanes(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
#endif

#endif
