/* Threefry-2x32 and the stable transform as inline functions of one lane, which the compiler turns into vector code. */

#pragma once

#include <stdint.h>
#include <string.h>

#ifndef ROUNDS
#define ROUNDS 20
#endif
#define HALF_PI 1.57079632679489662f
#define LN2 0.693147180559945309f

static const int ROTATIONS[8] = {13, 15, 26, 6, 17, 29, 16, 24};

/* Salmon et al. 2011; a key word is added after every fourth round. */
static inline __attribute__((always_inline)) void threefry(uint32_t k0, uint32_t k1, uint32_t *c0, uint32_t *c1) {
    const uint32_t keys[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    uint32_t x0 = *c0 + k0, x1 = *c1 + k1;
#pragma GCC unroll 32
    for (int round = 0; round < ROUNDS; round++) {
        const int rotation = ROTATIONS[round % 8];
        x0 += x1;
        x1 = ((x1 << rotation) | (x1 >> (32 - rotation))) ^ x0;
        if (round % 4 == 3) {
            const int group = round / 4 + 1;
            x0 += keys[group % 3];
            x1 += keys[(group + 1) % 3] + (uint32_t)group;
        }
    }
    *c0 = x0, *c1 = x1;
}

static inline float as_float(int32_t bits) { float value; memcpy(&value, &bits, 4); return value; }
static inline int32_t as_int(float value) { int32_t bits; memcpy(&bits, &value, 4); return bits; }

/* sin x on 0 <= x <= pi/2, log2 x for normal x > 0, 2^y: levyjax's polynomials. */
static inline float sine(float x) {
    const float s = x * x;
    return x * ((((2.60190307e-06f * s - 0.000198074187f) * s + 0.00833302514f) * s - 0.166666567f) * s + 0.999999995f);
}

static inline float log2_near_one(float m) {
    float p = 0.125836983f;
    p = p * m - 0.207269729f, p = p * m + 0.215715611f, p = p * m - 0.238944824f, p = p * m + 0.287916248f;
    p = p * m - 0.360703683f, p = p * m + 0.480910643f, p = p * m - 0.721347347f, p = p * m + 1.442695f;
    return p * m;
}

static inline float log_2(float x) {
    const int32_t bits = as_int(x), exponent = (bits - 0x3F3504F3) >> 23;
    return (float)exponent + log2_near_one(as_float(bits - exponent * (1 << 23)) - 1.0f);
}

static inline float exp_2(float y) {
    y = y < -126.0f ? -126.0f : y > 127.99999f ? 127.99999f : y;
    const float whole = __builtin_rintf(y), f = y - whole;
    float p = 0.000153458118f;
    p = p * f + 0.00133999312f, p = p * f + 0.00961848896f, p = p * f + 0.0555032878f, p = p * f + 0.240226469f;
    p = p * f + 0.693147206f, p = p * f + 1.0f;
    return as_float((int32_t)whole * (1 << 23) + as_int(p));
}

static inline float fraction(uint32_t word) { return (float)(int32_t)(word & 0x7FFFFFFFu) * 0x1p-31f; }

/* A symmetric alpha-stable variate from two words: the sign, 39 bits of angle, 31 bits of radius. */
static inline float variate(uint32_t w0, uint32_t w1, float alpha, float inverse) {
    const float part = fraction(w0) + ((float)(int32_t)(w1 & 0xFF) + 0.5f) * 0x1p-39f;
    const float rest = fraction(~w0) + ((float)(int32_t)(~w1 & 0xFF) + 0.5f) * 0x1p-39f;
    const float theta = part * HALF_PI, phi = rest * HALF_PI, beyond = (2.0f - alpha) * HALF_PI;
    const float a = alpha * phi, a_far = beyond + alpha * theta;
    const float b = alpha * HALF_PI + (1.0f - alpha) * theta, b_far = beyond + (alpha - 1.0f) * theta;
    const float y = (float)(int32_t)(w1 >> 1) * 0x1p-31f + 0x1p-32f;
    const float y_rest = (float)(int32_t)(~(w1 >> 1) & 0x7FFFFFFFu) * 0x1p-31f + 0x1p-32f;
    const float near_one = log2_near_one(-y_rest), far = log_2(y);
    const float exponential = -LN2 * (y_rest < 0.25f ? near_one : far);
    const float radius = log_2(sine(b < b_far ? b : b_far) / exponential);
    const float size = sine(a < a_far ? a : a_far) * exp_2(inverse * (radius - log_2(sine(theta))) - radius);
    return as_float(as_int(size) | (int32_t)(w0 & 0x80000000u));
}
