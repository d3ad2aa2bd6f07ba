/* Euler steps of dx = -x dt + noise_level dL inside a box, L symmetric alpha-stable: the whole job as one C loop.
 *
 * The same words as levyjax (Threefry-2x32 of seed, trajectory, step, coordinate), the same law (Chambers, Mallows and
 * Stuck with the pole folded into the angle, so that float32 keeps the far tail), in the order that suits a CPU: a block
 * of lanes stays in the first-level cache for all its steps, lanes are the vector axis, blocks go to threads.
 *
 * gcc -O3 -march=native -ffast-math -fopenmp -DROUNDS=20 -shared -fPIC stable_steps.c -o stable_steps.so
 */

#include "stable.h"

#define BLOCK 256        /* lanes of a block */
#define MAX_DIMENSION 64 /* rows of a block that lie on the stack */

/* x: dimension rows of `lanes` entries, 0 at the start; taken: steps until the exit, or `steps`. */
void stable_steps(uint32_t key0, uint32_t key1, int lanes, int dimension, int steps, float alpha, float dt,
                  float kick, float bound, float *x, int32_t *taken) {
    const float inverse = 1.0f / alpha, keep = 1.0f - dt;
#pragma omp parallel for schedule(dynamic)
    for (int first = 0; first < lanes; first += BLOCK) {
        const int width = lanes - first < BLOCK ? lanes - first : BLOCK;
        float point[MAX_DIMENSION][BLOCK];
        uint32_t k0[BLOCK], k1[BLOCK];
        int32_t running[BLOCK], count[BLOCK], inside[BLOCK];
        memset(point, 0, sizeof(point[0]) * dimension);
        for (int lane = 0; lane < BLOCK; lane++) {
            k0[lane] = (uint32_t)(first + lane), k1[lane] = 0, running[lane] = 1, count[lane] = 0;
            threefry(key0, key1, &k0[lane], &k1[lane]);
        }
        for (int step = 0; step < steps; step++) {
            for (int lane = 0; lane < BLOCK; lane++) inside[lane] = 1;
            for (int row = 0; row < dimension; row++) {
                float *now = point[row];
                for (int lane = 0; lane < BLOCK; lane++) {
                    uint32_t w0 = (uint32_t)step, w1 = (uint32_t)row;
                    threefry(k0[lane], k1[lane], &w0, &w1);
                    const float moved = keep * now[lane] + kick * variate(w0, w1, alpha, inverse);
                    now[lane] = running[lane] ? moved : now[lane];
                    inside[lane] &= __builtin_fabsf(now[lane]) < bound;
                }
            }
            for (int lane = 0; lane < BLOCK; lane++) count[lane] += running[lane], running[lane] &= inside[lane];
        }
        for (int row = 0; row < dimension; row++)
            memcpy(x + (size_t)row * lanes + first, point[row], sizeof(float) * width);
        memcpy(taken + first, count, sizeof(int32_t) * width);
    }
}

/* The words themselves, for a test against levyjax. */
void threefry_words(uint32_t k0, uint32_t k1, uint32_t c0, uint32_t c1, uint32_t *out) {
    out[0] = c0, out[1] = c1;
    threefry(k0, k1, &out[0], &out[1]);
}
