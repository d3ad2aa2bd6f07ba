/* What this processor can do with all its threads: one operation over and over, on data in registers or in the first
 * cache. Each function returns how many scalar operations (or words, or values) a thread did; `threads` how many there
 * are. Compiled like stable_steps.c. */

#include <omp.h>

#include "stable.h"

#define CHAINS 12 /* independent, so that latency is hidden; 12 pairs fit 32 registers of 16 lanes */
#define LANES 16
#define COUNT 1024 /* values in the first cache */

typedef uint32_t Word __attribute__((vector_size(4 * LANES)));
typedef float Float __attribute__((vector_size(4 * LANES)));

static volatile uint32_t word_sink;
static volatile float float_sink;

int threads(void) { return omp_get_max_threads(); }

/* Add, rotate, xor: three operations, a round of Threefry. */
double integer_operations(long repeats) {
#pragma omp parallel
    {
        Word a[CHAINS], b[CHAINS];
        for (int c = 0; c < CHAINS; c++) a[c] = (Word){} + (uint32_t)c + word_sink, b[c] = ~a[c];
        for (long r = 0; r < repeats; r++)
#pragma GCC unroll 16
            for (int c = 0; c < CHAINS; c++) a[c] += b[c], b[c] = ((b[c] << 13) | (b[c] >> 19)) ^ a[c];
        for (int c = 0; c < CHAINS; c++) word_sink = a[c][0] ^ b[c][1];
    }
    return 3.0 * CHAINS * LANES * repeats;
}

/* Multiply-adds, two operations each. */
double float_operations(long repeats) {
#pragma omp parallel
    {
        Float a[CHAINS];
        for (int c = 0; c < CHAINS; c++) a[c] = (Float){} + (float)c + float_sink;
        for (long r = 0; r < repeats; r++)
#pragma GCC unroll 16
            for (int c = 0; c < CHAINS; c++) a[c] = a[c] * 0.999f + 1e-6f;
        for (int c = 0; c < CHAINS; c++) float_sink = a[c][0];
    }
    return 2.0 * CHAINS * LANES * repeats;
}

#define SWEEP(NAME, TYPE, START, BODY, SINK)                          \
    double NAME(long repeats) {                                       \
        _Pragma("omp parallel") {                                     \
            TYPE x[COUNT], y[COUNT];                                  \
            for (int i = 0; i < COUNT; i++) x[i] = START, y[i] = 0;   \
            for (long r = 0; r < repeats / COUNT + 1; r++)            \
                for (int i = 0; i < COUNT; i++) BODY;                 \
            TYPE sum = 0;                                             \
            for (int i = 0; i < COUNT; i++) sum += y[i];              \
            SINK = sum;                                               \
        }                                                             \
        return (double)COUNT * (repeats / COUNT + 1);                 \
    }

static inline uint32_t cipher(uint32_t low, uint32_t high) {
    uint32_t w0 = low, w1 = high;
    threefry(1, 2, &w0, &w1);
    return w0 ^ w1;
}

/* Pairs of random words; variates made of given words; values of the three functions. */
SWEEP(word_pairs, uint32_t, (uint32_t)i, y[i] ^= cipher(x[i], (uint32_t)r), word_sink)
SWEEP(variates, float, i + 0.5f, y[i] += variate((uint32_t)as_int(x[i]) * 747796405u + (uint32_t)r, (uint32_t)i * 2891336453u, 1.5f, 2.0f / 3.0f), float_sink)
SWEEP(sines, float, i * 1e-3f, y[i] += sine(x[i] + y[i] * 1e-9f), float_sink)
SWEEP(logarithms, float, i + 0.5f, y[i] += log_2(x[i] + y[i] * 1e-9f), float_sink)
SWEEP(exponentials, float, i * 1e-2f, y[i] = exp_2(x[i] - y[i] * 1e-9f), float_sink)
