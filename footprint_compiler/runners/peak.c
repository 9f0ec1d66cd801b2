/* Chains of multiply-accumulates, as many as hide their latency: the most that one core can do.
 * Compiled for the CPU of a build; each function returns how many products it added up. */
#include <stdint.h>

#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define CHAINS 12

typedef float floats __attribute__((vector_size(BYTES)));

uint64_t fpc_peak_float(uint64_t repeats, float *sink)
{
    floats sums[CHAINS] = {0}, one = {0}, two = {0};
    one += sink[0];
    two += sink[1];
    for (uint64_t i = 0; i < repeats; i++) {
#pragma clang loop unroll(full)
        for (int c = 0; c < CHAINS; c++)
            sums[c] = sums[c] * one + two;
        __asm__ volatile("" ::: "memory");
    }
    for (int c = 1; c < CHAINS; c++)
        sums[0] += sums[c];
    sink[0] = sums[0][0];
    return repeats * CHAINS * (BYTES / sizeof(float));
}

#if defined(__x86_64__)
#if defined(__AVX512VNNI__) && defined(__AVX512F__)
#define STEP "vpdpbusd %%zmm14, %%zmm15, %%zmm"
#define AFTER(n) ""
#define PRODUCTS 64
#elif defined(__AVXVNNI__)
#define STEP "{vex} vpdpbusd %%ymm14, %%ymm15, %%ymm"
#define AFTER(n) ""
#define PRODUCTS 32
#elif defined(__AVX2__)
#define STEP "vpmaddwd %%ymm14, %%ymm15, %%ymm13\n vpaddd %%ymm13, %%ymm" 
#define AFTER(n) ", %%ymm" #n
#define PRODUCTS 16
#endif
#define ONE(n) STEP #n AFTER(n) "\n"
#elif defined(__ARM_FEATURE_DOTPROD)
#define ONE(n) "sdot v" #n ".4s, v14.16b, v15.16b\n"
#define PRODUCTS 16
#elif defined(__aarch64__)
#define ONE(n) "smlal v" #n ".4s, v14.4h, v15.4h\n"
#define PRODUCTS 4
#endif

/* 0 where this file knows no instruction for 8-bit products. */
uint64_t fpc_peak_int8(uint64_t repeats, float *sink)
{
    (void)sink;
#ifdef PRODUCTS
    for (uint64_t i = 0; i < repeats; i++)
        __asm__ volatile(ONE(0) ONE(1) ONE(2) ONE(3) ONE(4) ONE(5) ONE(6) ONE(7) ONE(8) ONE(9)
                ONE(10) ONE(11)::
                : "memory");
    return repeats * 12 * PRODUCTS;
#else
    (void)repeats;
    return 0;
#endif
}
