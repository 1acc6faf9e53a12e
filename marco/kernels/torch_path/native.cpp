// The passes between the matrix products: RMSNorm, rope, SwiGLU and the softmaxes.
// Values are fp32 or bf16 (rounded to nearest even), arithmetic and sums fp32. Work is cut by rows
// in the same way whatever runs, so results repeat for the same number of threads.
// Compiled without linking OpenMP: torch's own runtime, already loaded, is the one used.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <omp.h>
#include <vector>

namespace {

struct bf16 {
    uint16_t bits;
};

inline float get(float x) { return x; }
inline float get(bf16 x) {
    uint32_t wide = uint32_t(x.bits) << 16;
    float y;
    std::memcpy(&y, &wide, 4);
    return y;
}
inline void put(float &to, float x) { to = x; }
inline void put(bf16 &to, float x) {
    uint32_t wide;
    std::memcpy(&wide, &x, 4);
    uint32_t rounded = (wide + 0x7fff + ((wide >> 16) & 1)) >> 16;
    to.bits = uint16_t(x != x ? 0x7fc0 : rounded);
}

// exp(x) for x <= 0 within 2 ulp; NaN stays. Cephes' polynomial after x = n ln 2 + r.
inline float exp_negative(float x) {
    float n = std::nearbyint(x * 1.44269504f);
    n = n < -127.0f ? -127.0f : n;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    int32_t power = (int32_t(x != x ? 0.0f : n) + 127) << 23;
    float scale;
    std::memcpy(&scale, &power, 4);
    float y = p * scale;
    return x < -87.33654f ? 0.0f : y;
}

inline float sigmoid(float x) {
    float e = exp_negative(x > 0 ? -x : x);
    return (x > 0 ? 1.0f : e) / (1.0f + e);
}

template <class T> float greatest(const T *x, int64_t n) {
    float top = -INFINITY;
#pragma omp simd reduction(max : top)
    for (int64_t i = 0; i < n; i++) {
        float v = get(x[i]);
        top = v > top ? v : top;
    }
    return top;
}

// Losses of rows [tokens, rows]; with `upstream`, the logits' gradient in their place.
template <class T>
void cross_entropy(T *logits, int64_t tokens, int64_t rows, const int64_t *targets, float *losses,
                   const float *upstream, float z_loss, float smoothing, int threads) {
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> kept(rows);
        float *e = kept.data();
#pragma omp for schedule(static)
        for (int64_t t = 0; t < tokens; t++) {
            T *x = logits + t * rows;
            const int64_t target = targets[t];
            const float top = greatest(x, rows), wanted = get(x[target]);
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < rows; i++) {
                e[i] = exp_negative(get(x[i]) - top);
                sum += e[i];
            }
            const float above_top = std::log(sum), lse = top + above_top;
            float loss = above_top + (1 - smoothing) * (top - wanted);
            if (smoothing != 0) {
                float below = 0;  // differences come first: they keep their digits
#pragma omp simd reduction(+ : below)
                for (int64_t i = 0; i < rows; i++)
                    below += top - get(x[i]);
                loss += smoothing * below / rows;
            }
            losses[t] = loss + z_loss * lse * lse;
            if (!upstream)
                continue;
            const float above = upstream[t], penalty = 2 * z_loss * lse;
            const float factor = above * (1 + penalty) / sum, less = above * smoothing / rows;
            const float p = e[target] / sum;
            const float d_target = p - (1 - smoothing) + p * penalty - smoothing / rows;
#pragma omp simd
            for (int64_t i = 0; i < rows; i++)
                put(x[i], e[i] * factor - less);
            put(x[target], above * d_target);
        }
    }
}

// Softmax over the last dimension of scores [batch, queries * group, keys], in place, after adding
// bias [queries, keys - hides] (one for each `heads` of batch, or one for all) to the last keys.
// `d`, where given, holds the probabilities' gradient and is left holding the scores'.
template <class T>
void attention(T *scores, T *d, int64_t batch, int64_t queries, int64_t group, int64_t keys,
               int64_t hides, const float *bias, int64_t bias_step, int64_t heads, int threads) {
    const int64_t per = queries * group, masked = keys - hides;
#pragma omp parallel num_threads(threads)
    {
        std::vector<float> kept(keys);
        float *y = kept.data();
#pragma omp for schedule(static)
        for (int64_t row = 0; row < batch * per; row++) {
            T *x = scores + row * keys;
            const float *b = bias + row / per / heads * bias_step + row % per / group * masked;
            for (int64_t i = 0; i < hides; i++)
                y[i] = get(x[i]);
            for (int64_t i = 0; i < masked; i++)
                y[hides + i] = get(x[hides + i]) + b[i];
            const float top = greatest(y, keys);
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < keys; i++) {
                y[i] = exp_negative(y[i] - top);
                sum += y[i];
            }
            const float scale = 1 / sum;
#pragma omp simd
            for (int64_t i = 0; i < keys; i++)
                put(x[i], y[i] * scale);
            if (!d)
                continue;
            T *dy = d + row * keys;
            float inner = 0;
#pragma omp simd reduction(+ : inner)
            for (int64_t i = 0; i < keys; i++)
                inner += y[i] * get(dy[i]);
            inner *= scale;
#pragma omp simd
            for (int64_t i = 0; i < keys; i++)
                put(dy[i], y[i] * scale * (get(dy[i]) - inner));
        }
    }
}

// y = rms_norm(sum) * weight with sum = x + residual (or x where there is none).
template <class X, class R, class Y, class W>
void norm(const X *x, const R *residual, const W *weight, R *summed, Y *y, float *scales,
          int64_t tokens, int64_t hidden, float eps, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const X *xs = x + t * hidden;
        R *s = summed + t * hidden;
        float square = 0;
        if (residual) {
            const R *r = residual + t * hidden;
#pragma omp simd reduction(+ : square)
            for (int64_t i = 0; i < hidden; i++) {
                put(s[i], get(r[i]) + get(xs[i]));
                square += get(s[i]) * get(s[i]);
            }
        } else {
#pragma omp simd reduction(+ : square)
            for (int64_t i = 0; i < hidden; i++)
                square += get(s[i]) * get(s[i]);
        }
        const float scale = 1 / std::sqrt(square / hidden + eps);
        scales[t] = scale;
        Y *ys = y + t * hidden;
#pragma omp simd
        for (int64_t i = 0; i < hidden; i++)
            put(ys[i], get(s[i]) * scale * get(weight[i]));
    }
}

// d = dL/dsum (+ d_summed), also in x's type; d_weights [threads, hidden] is each thread's share.
template <class X, class R, class Y, class W>
void norm_backward(const Y *dy, const R *d_summed, const R *summed, const W *weight,
                   const float *scales, X *dx, R *d, float *d_weights, int64_t tokens,
                   int64_t hidden, int threads) {
#pragma omp parallel num_threads(threads)
    {
        float *dw = d_weights + omp_get_thread_num() * hidden;
        for (int64_t i = 0; i < hidden; i++)
            dw[i] = 0;
#pragma omp for schedule(static)
        for (int64_t t = 0; t < tokens; t++) {
            const int64_t at = t * hidden;
            const float scale = scales[t];
            float inner = 0;
#pragma omp simd reduction(+ : inner)
            for (int64_t i = 0; i < hidden; i++) {
                const float hat = get(summed[at + i]) * scale, product = get(dy[at + i]) * hat;
                dw[i] += product;
                inner += product * get(weight[i]);
            }
            inner /= hidden;
#pragma omp simd
            for (int64_t i = 0; i < hidden; i++) {
                const float hat = get(summed[at + i]) * scale;
                float v = (get(dy[at + i]) * get(weight[i]) - hat * inner) * scale;
                if (d_summed)
                    v += get(d_summed[at + i]);
                if (d)
                    put(d[at + i], v);
                put(dx[at + i], v);
            }
        }
    }
}

template <class T>
void gated(const T *both, T *y, int64_t tokens, int64_t n, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const T *gate = both + 2 * t * n, *up = gate + n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const float g = get(gate[i]);
            put(y[t * n + i], g * sigmoid(g) * get(up[i]));
        }
    }
}

template <class T>
void gated_backward(const T *dy, const T *both, T *d_both, int64_t tokens, int64_t n, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const T *gate = both + 2 * t * n, *up = gate + n;
        T *d_gate = d_both + 2 * t * n, *d_up = d_gate + n;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) {
            const float g = get(gate[i]), s = sigmoid(g), d = get(dy[t * n + i]);
            put(d_up[i], d * g * s);
            put(d_gate[i], d * get(up[i]) * s * (1 + g * (1 - s)));
        }
    }
}

// Heads [tokens, heads, width] turned by angles [rows, width / 2] of token modulo `rows`; tokens
// of x lie `step` apart. `sign` -1 turns back.
template <class T>
void turn(const T *x, int64_t step, T *y, const float *cos, const float *sin, int64_t tokens,
          int64_t heads, int64_t width, int64_t rows, float sign, int threads) {
    const int64_t half = width / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t t = 0; t < tokens; t++) {
        const float *c = cos + t % rows * half, *s = sin + t % rows * half;
        for (int64_t h = 0; h < heads; h++) {
            const T *from = x + t * step + h * width;
            T *to = y + (t * heads + h) * width;
#pragma omp simd
            for (int64_t i = 0; i < half; i++) {
                const float one = get(from[i]), two = get(from[half + i]), turned = sign * s[i];
                put(to[i], one * c[i] - two * turned);
                put(to[half + i], two * c[i] + one * turned);
            }
        }
    }
}

// Calls f(T{}) with T = bf16 or float.
template <class F> void by_type(bool is_bf16, F f) {
    if (is_bf16)
        f(bf16{});
    else
        f(float{});
}

// The same for four types, in the order of the bits of `kinds`.
template <class F> void by_types(int64_t kinds, F f) {
    by_type(kinds & 1, [&](auto a) {
        by_type(kinds & 2, [&](auto b) {
            by_type(kinds & 4, [&](auto c) { by_type(kinds & 8, [&](auto d) { f(a, b, c, d); }); });
        });
    });
}

}  // namespace

extern "C" {

void marco_cross_entropy(void *logits, int64_t is_bf16, int64_t tokens, int64_t rows,
                         const int64_t *targets, float *losses, const float *upstream,
                         float z_loss, float smoothing, int64_t threads) {
    by_type(is_bf16, [&](auto t) {
        cross_entropy((decltype(t) *)logits, tokens, rows, targets, losses, upstream, z_loss,
                      smoothing, threads);
    });
}

void marco_attention(void *scores, void *d, int64_t is_bf16, int64_t batch, int64_t queries,
                     int64_t group, int64_t keys, int64_t hides, const float *bias,
                     int64_t bias_step, int64_t heads, int64_t threads) {
    by_type(is_bf16, [&](auto t) {
        using T = decltype(t);
        attention((T *)scores, (T *)d, batch, queries, group, keys, hides, bias, bias_step, heads,
                  threads);
    });
}

// `kinds`: bits 0 to 3 say that x, the residual, y and the weight are bf16.
void marco_norm(const void *x, const void *residual, const void *weight, void *summed, void *y,
                float *scales, int64_t kinds, int64_t tokens, int64_t hidden, float eps,
                int64_t threads) {
    by_types(kinds, [&](auto a, auto b, auto c, auto d) {
        using R = decltype(b);
        norm((const decltype(a) *)x, (const R *)residual, (const decltype(d) *)weight, (R *)summed,
             (decltype(c) *)y, scales, tokens, hidden, eps, threads);
    });
}

void marco_norm_backward(const void *dy, const void *d_summed, const void *summed,
                         const void *weight, const float *scales, void *dx, void *d,
                         float *d_weights, int64_t kinds, int64_t tokens, int64_t hidden,
                         int64_t threads) {
    by_types(kinds, [&](auto a, auto b, auto c, auto w) {
        using R = decltype(b);
        norm_backward((const decltype(c) *)dy, (const R *)d_summed, (const R *)summed,
                      (const decltype(w) *)weight, scales, (decltype(a) *)dx, (R *)d, d_weights,
                      tokens, hidden, threads);
    });
}

void marco_rope(const void *x, int64_t is_bf16, int64_t step, void *y, const float *cos,
                const float *sin, int64_t tokens, int64_t heads, int64_t width, int64_t rows,
                float sign, int64_t threads) {
    by_type(is_bf16, [&](auto t) {
        using T = decltype(t);
        turn((const T *)x, step, (T *)y, cos, sin, tokens, heads, width, rows, sign, threads);
    });
}

void marco_swiglu(const void *both, int64_t is_bf16, void *y, int64_t tokens, int64_t n, int64_t threads) {
    by_type(is_bf16, [&](auto t) {
        using T = decltype(t);
        gated((const T *)both, (T *)y, tokens, n, threads);
    });
}

void marco_swiglu_backward(const void *dy, const void *both, int64_t is_bf16, void *d_both,
                           int64_t tokens, int64_t n, int64_t threads) {
    by_type(is_bf16, [&](auto t) {
        using T = decltype(t);
        gated_backward((const T *)dy, (const T *)both, (T *)d_both, tokens, n, threads);
    });
}
}
