// Batch normalisation (arXiv:1502.03167) and the activation after it in one pass over memory, with
// the mean of every plane of the result, which squeeze-and-excite needs.
//
// z = (x - mean) * rstd * gamma + beta;  y = activation(z);  pooled = mean of y over a plane.
//
// Statistics are a channel's alone, so one thread computes a channel, image after image.

#include <cmath>

#include "vectors.h"

namespace {

using V = Lanes<kLanes>;
using Vec = V::Vec;

struct Identity {
  static Vec value(Vec z) { return z; }
  static Vec slope(Vec) { return V::all(1.0f); }
};

struct Relu {
  // No number stays none: a diverged layer must show in the loss.
  static Vec value(Vec z) { return z < 0.0f ? Vec{} : z; }
  static Vec slope(Vec z) { return z > 0.0f ? V::all(1.0f) : Vec{}; }
};

struct Swish {
  static Vec sigmoid(Vec z) { return 1.0f / (1.0f + V::exp(-z)); }
  static Vec value(Vec z) { return z * sigmoid(z); }
  static Vec slope(Vec z) {
    const Vec s = sigmoid(z);
    return s + z * s * (1.0f - s);
  }
};

struct Moments {
  float mean, variance;
};

// Of a channel over all images, biased. Sums are taken about the first value, or the squares of a
// channel far from zero would cancel.
Moments moments(const float* x, int images, size_t stride, int size) {
  const float origin = x[0];
  double total = 0, squares = 0;
  for (int n = 0; n < images; ++n) {
    const float* plane = x + n * stride;
    Vec sum{}, square{};
    int i = 0;
    for (; i + kLanes <= size; i += kLanes) {
      const Vec d = V::load(plane + i) - origin;
      sum += d;
      square += d * d;
    }
    float rest = 0, rest_square = 0;
    for (; i < size; ++i) {
      const float d = plane[i] - origin;
      rest += d;
      rest_square += d * d;
    }
    total += V::sum(sum) + rest;
    squares += V::sum(square) + rest_square;
  }
  const double count = static_cast<double>(images) * size, mean = total / count;
  return {static_cast<float>(origin + mean), static_cast<float>(std::max(squares / count - mean * mean, 0.0))};
}

// Writes activation(x * scale + shift) of one plane; returns its mean.
template <typename Activation>
float normalise(const float* x, float scale, float shift, float* y, int size) {
  Vec sum{};
  int i = 0;
  for (; i + kLanes <= size; i += kLanes) {
    const Vec value = Activation::value(V::load(x + i) * scale + shift);
    sum += value;
    V::store(y + i, value);
  }
  float total = V::sum(sum);
  if (i < size) {
    const Vec value = Activation::value(V::load_first(x + i, size - i) * scale + shift);
    V::store_first(y + i, value, size - i);
    for (int lane = 0; lane < size - i; ++lane) total += value[lane];
  }
  return total / size;
}

// (x, gamma, beta, epsilon) -> y, pooled (N, C, 1, 1), mean, variance
template <typename Activation>
int train_forward(const Arguments& a) {
  const int images = a.dim(0, 0), channels = a.dim(0, 1), size = a.dim(0, 2) * a.dim(0, 3);
  const size_t stride = static_cast<size_t>(channels) * size;
  const float epsilon = a.data(3)[0];
#pragma omp parallel for schedule(dynamic, 1)
  for (int c = 0; c < channels; ++c) {
    const float* x = a.data(0) + static_cast<size_t>(c) * size;
    float* y = a.data(4) + static_cast<size_t>(c) * size;
    const Moments m = moments(x, images, stride, size);
    const float scale = a.data(1)[c] / std::sqrt(m.variance + epsilon);
    const float shift = a.data(2)[c] - m.mean * scale;
    for (int n = 0; n < images; ++n)
      a.data(5)[n * channels + c] =
          normalise<Activation>(x + n * stride, scale, shift, y + n * stride, size);
    a.data(6)[c] = m.mean;
    a.data(7)[c] = m.variance;
  }
  return 0;
}

// (x, gamma, beta, mean, variance, epsilon) -> y, pooled (N, C, 1, 1)
template <typename Activation>
int infer_forward(const Arguments& a) {
  const int images = a.dim(0, 0), channels = a.dim(0, 1), size = a.dim(0, 2) * a.dim(0, 3);
  const float epsilon = a.data(5)[0];
#pragma omp parallel for schedule(static)
  for (int i = 0; i < images * channels; ++i) {
    const int c = i % channels;
    const float scale = a.data(1)[c] / std::sqrt(a.data(4)[c] + epsilon);
    const float shift = a.data(2)[c] - a.data(3)[c] * scale;
    const size_t at = static_cast<size_t>(i) * size;
    a.data(7)[i] = normalise<Activation>(a.data(0) + at, scale, shift, a.data(6) + at, size);
  }
  return 0;
}

// (dy, dpooled, x, gamma, beta, mean, variance, epsilon) -> dx, dgamma, dbeta
//
// dz = (dy + dpooled / size) * activation'(z), and with x^ = (x - mean) * rstd over M values
// dx = gamma * rstd * (dz - sum(dz) / M - x^ * sum(dz * x^) / M).
template <typename Activation>
int train_backward(const Arguments& a) {
  const int images = a.dim(0, 0), channels = a.dim(0, 1), size = a.dim(0, 2) * a.dim(0, 3);
  const size_t stride = static_cast<size_t>(channels) * size;
  const float epsilon = a.data(7)[0];
#pragma omp parallel for schedule(dynamic, 1)
  for (int c = 0; c < channels; ++c) {
    const float* dy = a.data(0) + static_cast<size_t>(c) * size;
    const float* x = a.data(2) + static_cast<size_t>(c) * size;
    float* dx = a.data(8) + static_cast<size_t>(c) * size;
    const float mean = a.data(5)[c], rstd = 1.0f / std::sqrt(a.data(6)[c] + epsilon);
    const float gamma = a.data(3)[c], beta = a.data(4)[c];
    auto delta = [&](Vec dy, Vec normal, float pooled) {
      return (dy + pooled) * Activation::slope(normal * gamma + beta);
    };
    double total = 0, product = 0;
    for (int n = 0; n < images; ++n) {
      const float pooled = a.data(1)[n * channels + c] / size;
      const float *d = dy + n * stride, *v = x + n * stride;
      Vec sum{}, sum_product{};
      int i = 0;
      for (; i + kLanes <= size; i += kLanes) {
        const Vec normal = (V::load(v + i) - mean) * rstd;
        const Vec dz = delta(V::load(d + i), normal, pooled);
        sum += dz;
        sum_product += dz * normal;
      }
      total += V::sum(sum);
      product += V::sum(sum_product);
      if (i < size) {
        const Vec normal = (V::load_first(v + i, size - i) - mean) * rstd;
        const Vec dz = delta(V::load_first(d + i, size - i), normal, pooled);
        for (int lane = 0; lane < size - i; ++lane) {
          total += dz[lane];
          product += dz[lane] * normal[lane];
        }
      }
    }
    const double count = static_cast<double>(images) * size;
    const float centre = static_cast<float>(total / count), tilt = static_cast<float>(product / count);
    const float scale = gamma * rstd;
    for (int n = 0; n < images; ++n) {
      const float pooled = a.data(1)[n * channels + c] / size;
      const float *d = dy + n * stride, *v = x + n * stride;
      float* to = dx + n * stride;
      int i = 0;
      for (; i + kLanes <= size; i += kLanes) {
        const Vec normal = (V::load(v + i) - mean) * rstd;
        const Vec dz = delta(V::load(d + i), normal, pooled);
        V::store(to + i, scale * (dz - centre - normal * tilt));
      }
      if (i < size) {
        const Vec normal = (V::load_first(v + i, size - i) - mean) * rstd;
        const Vec dz = delta(V::load_first(d + i, size - i), normal, pooled);
        V::store_first(to + i, scale * (dz - centre - normal * tilt), size - i);
      }
    }
    a.data(9)[c] = static_cast<float>(product);
    a.data(10)[c] = static_cast<float>(total);
  }
  return 0;
}

}  // namespace

#define MIXNET_NORM_ACT(activation, Activation)                                                        \
  MIXNET_OPERATOR(norm_act_train_forward_##activation, 8) { return train_forward<Activation>(a); }     \
  MIXNET_OPERATOR(norm_act_train_backward_##activation, 11) { return train_backward<Activation>(a); }  \
  MIXNET_OPERATOR(norm_act_infer_forward_##activation, 8) { return infer_forward<Activation>(a); }

MIXNET_NORM_ACT(none, Identity)
MIXNET_NORM_ACT(relu, Relu)
MIXNET_NORM_ACT(swish, Swish)
