// A dense convolution of few input channels, such as a network's first (3 -> 16): forward and weight
// gradient. A vector runs along a row, so that an input value is loaded once for several outputs.
//
// weights (O, C, k, k), k odd, padding k / 2, stride 1 or 2.

#include "padded.h"

namespace {

using V = Lanes<kLanes>;
using Vec = V::Vec;

constexpr int kOutputs = 8;

struct Shape {
  int images, channels, height, width, outputs, kernel, out_height, out_width, stride, taps;
  size_t in_size, out_size;

  Shape(const Arguments& a, int x, int weights, int y)
      : images(a.dim(x, 0)),
        channels(a.dim(x, 1)),
        height(a.dim(x, 2)),
        width(a.dim(x, 3)),
        outputs(a.dim(weights, 0)),
        kernel(a.dim(weights, 2)),
        out_height(a.dim(y, 2)),
        out_width(a.dim(y, 3)),
        stride(out_height == height && out_width == width ? 1 : 2),
        taps(channels * kernel * kernel),
        in_size(static_cast<size_t>(height) * width),
        out_size(static_cast<size_t>(out_height) * out_width) {}
};

// All channels of an image, padded; `offsets` says where each of the C * k * k taps begins.
struct Planes {
  std::vector<float> data;
  std::vector<int> offsets;
  int row_step;
  size_t plane_size;

  explicit Planes(const Shape& s) {
    const Padded<kLanes> plane = padded(s);
    row_step = s.stride * plane.pitch;
    plane_size = static_cast<size_t>(plane.rows) * plane.pitch;
    data.resize(plane_size * s.channels);
    for (int c = 0; c < s.channels; ++c)
      for (int i = 0; i < s.kernel * s.kernel; ++i)
        offsets.push_back(static_cast<int>(c * plane_size) + plane.offset(i / s.kernel, i % s.kernel));
  }

  void fill(const Shape& s, const float* image, const float* end) {
    Padded<kLanes> plane = padded(s);
    for (int c = 0; c < s.channels; ++c) {
      plane.fill(image + c * s.in_size, s.height, s.width, end);
      std::memcpy(data.data() + c * plane_size, plane.data, sizeof(float) * plane_size);
    }
  }

 private:
  static Padded<kLanes> padded(const Shape& s) {
    const int round = (s.out_width + kLanes - 1) / kLanes * kLanes;
    return {0, s.stride, s.kernel / 2, s.kernel / 2, s.height, s.width, s.out_height, round, s.kernel, s.kernel};
  }
};

template <int Outputs>
void forward_outputs(const Shape& s, const Planes& planes, const float* weights, float* y) {
  for (int row = 0; row < s.out_height; ++row)
    for (int x = 0; x < s.out_width; x += kLanes) {
      const float* from = planes.data.data() + row * planes.row_step + x;
      Vec sums[Outputs] = {};
      for (int t = 0; t < s.taps; ++t) {
        const Vec v = V::load(from + planes.offsets[t]);
#pragma GCC unroll 8
        for (int o = 0; o < Outputs; ++o) sums[o] += v * weights[o * s.taps + t];
      }
      const int lanes = std::min(kLanes, s.out_width - x);
      float* to = y + static_cast<size_t>(row) * s.out_width + x;
#pragma GCC unroll 8
      for (int o = 0; o < Outputs; ++o) {
        if (lanes == kLanes)
          V::store(to + o * s.out_size, sums[o]);
        else
          V::store_first(to + o * s.out_size, sums[o], lanes);
      }
    }
}

// Adds to totals (Outputs, taps) for the taps t ... t + Taps - 1.
template <int Outputs, int Taps>
void weight_gradient_block(const Shape& s, const Planes& planes, const float* dy, int t, float* totals) {
  Vec sums[Outputs][Taps] = {};
  for (int row = 0; row < s.out_height; ++row)
    for (int x = 0; x < s.out_width; x += kLanes) {
      const float* from = planes.data.data() + row * planes.row_step + x;
      const float* d = dy + static_cast<size_t>(row) * s.out_width + x;
      const int lanes = std::min(kLanes, s.out_width - x);
      Vec values[Taps];
#pragma GCC unroll 4
      for (int i = 0; i < Taps; ++i) values[i] = V::load(from + planes.offsets[t + i]);
#pragma GCC unroll 8
      for (int o = 0; o < Outputs; ++o) {
        const float* at = d + o * s.out_size;
        const Vec delta = lanes == kLanes ? V::load(at) : V::load_first(at, lanes);
#pragma GCC unroll 4
        for (int i = 0; i < Taps; ++i) sums[o][i] += delta * values[i];
      }
    }
  for (int o = 0; o < Outputs; ++o)
    for (int i = 0; i < Taps; ++i) totals[o * s.taps + t + i] = V::sum(sums[o][i]);
}

template <int Outputs>
void weight_gradient_outputs(const Shape& s, const Planes& planes, const float* dy, float* totals) {
  int t = 0;
  for (; t + 3 <= s.taps; t += 3) weight_gradient_block<Outputs, 3>(s, planes, dy, t, totals);
  for (; t < s.taps; ++t) weight_gradient_block<Outputs, 1>(s, planes, dy, t, totals);
}

}  // namespace

// (x, weights) -> y
MIXNET_OPERATOR(stem_forward, 3) {
  const Shape s(a, 0, 1, 2);
#pragma omp parallel
  {
    Planes planes(s);
#pragma omp for schedule(dynamic, 1)
    for (int n = 0; n < s.images; ++n) {
      planes.fill(s, a.data(0) + n * s.channels * s.in_size, a.data(0) + a.size(0));
      float* y = a.data(2) + n * s.outputs * s.out_size;
      int o = 0;
      for (; o + kOutputs <= s.outputs; o += kOutputs)
        forward_outputs<kOutputs>(s, planes, a.data(1) + o * s.taps, y + o * s.out_size);
      for (; o < s.outputs; ++o) forward_outputs<1>(s, planes, a.data(1) + o * s.taps, y + o * s.out_size);
    }
  }
  return 0;
}

// (dy, x, weights) -> gradient; of the weights only the shape is used.
MIXNET_OPERATOR(stem_weight_gradient, 4) {
  const Shape s(a, 1, 2, 0);
  const size_t size = static_cast<size_t>(s.outputs) * s.taps;
  // A sum an image, added up in order: the result does not depend on the number of threads.
  std::vector<float> partial(size * s.images);
#pragma omp parallel
  {
    Planes planes(s);
#pragma omp for schedule(dynamic, 1)
    for (int n = 0; n < s.images; ++n) {
      planes.fill(s, a.data(1) + n * s.channels * s.in_size, a.data(1) + a.size(1));
      const float* dy = a.data(0) + n * s.outputs * s.out_size;
      float* totals = partial.data() + n * size;
      int o = 0;
      for (; o + kOutputs <= s.outputs; o += kOutputs)
        weight_gradient_outputs<kOutputs>(s, planes, dy + o * s.out_size, totals + o * s.taps);
      for (; o < s.outputs; ++o)
        weight_gradient_outputs<1>(s, planes, dy + o * s.out_size, totals + o * s.taps);
    }
  }
  for (size_t i = 0; i < size; ++i) {
    double total = 0;
    for (int n = 0; n < s.images; ++n) total += partial[n * size + i];
    a.data(3)[i] = static_cast<float>(total);
  }
  return 0;
}
