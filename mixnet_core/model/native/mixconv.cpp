// The mixed depthwise convolution (MixConv, arXiv:1907.09595, section 3), all kernel sizes in one
// operator: each part of the channels has its own odd kernel; forward and both gradients.
//
// A plane is copied into a zero-padded scratch plane whose columns are separated by stride (for
// stride 2: even columns, then odd ones). Every tap of a kernel then is an offset into the scratch
// plane and reads neighbouring floats, with no branch for the border. Forward and input gradient are
// one routine, `correlate`, over a list of taps; so any kernel size and plane size is the same code.
//
// Every sum is made by one thread in a fixed order: results do not depend on the number of threads.

#include "padded.h"

namespace {

struct Tap {
  int offset;
  float weight;
};

struct Part {
  int kernel, first_channel, channels;
  const float* weights;  // (channels, 1, kernel, kernel)
  float* gradient;       // the same shape, or null
};

struct Geometry {
  int height, width, out_height, out_width, stride, kernel, pad_top, pad_left;

  Geometry(int h, int w, int oh, int ow, int k, bool same)
      : height(h), width(w), out_height(oh), out_width(ow), kernel(k) {
    // A plane of one pixel has the same result for both strides.
    stride = oh == h && ow == w ? 1 : 2;
    pad_top = same ? std::max((oh - 1) * stride + k - h, 0) / 2 : k / 2;
    pad_left = same ? std::max((ow - 1) * stride + k - w, 0) / 2 : k / 2;
  }
};

template <int L, int Rows>
inline void correlate_rows(const float* from, int row_step, const Tap* taps, int count, float* to,
                           int to_pitch, int lanes, const float* to_end) {
  using V = Lanes<L>;
  typename V::Vec sums[Rows] = {};
  for (int t = 0; t < count; ++t) {
    const auto weight = V::all(taps[t].weight);
    const float* source = from + taps[t].offset;
#pragma GCC unroll 8
    for (int r = 0; r < Rows; ++r) sums[r] += weight * V::load(source + r * row_step);
  }
  // Rows ascend, so what a narrow row writes beyond its end is written over by the next.
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    float* row = to + r * to_pitch;
    if (row + L <= to_end)
      V::store(row, sums[r]);
    else
      V::store_first(row, sums[r], lanes);
  }
}

// to[y][x] = sum over taps of weight * from[y * row_step + x + offset]; `to` is contiguous.
template <int L>
void correlate(const float* from, int row_step, const Tap* taps, int count, float* to, int height,
               int width) {
  const float* end = to + static_cast<size_t>(height) * width;
  const int lanes = std::min(L, width);
  const int last = std::max(width - L, 0);
  int y = 0;
  auto band = [&](auto rows) {
    constexpr int kRows = decltype(rows)::value;
    for (; y + kRows <= height; y += kRows)
      // The last vector of a row begins early enough to end with it.
      for (int x = 0; x < width; x += L) {
        const int start = std::min(x, last);
        correlate_rows<L, kRows>(from + y * row_step + start, row_step, taps, count,
                                 to + static_cast<size_t>(y) * width + start, width, lanes, end);
      }
  };
  // MixNet's planes have 112, 56, 28, 14 or 7 rows.
  band(std::integral_constant<int, 7>{});
  band(std::integral_constant<int, 4>{});
  band(std::integral_constant<int, 1>{});
}

template <int L>
void forward_part(const Part& part, const Geometry& g, int images, int all_channels, const float* x,
                  const float* x_end, float* y) {
  const int k = g.kernel;
  Padded<L> plane(0, g.stride, g.pad_top, g.pad_left, g.height, g.width, g.out_height, g.out_width, k, k);
  std::vector<Tap> taps(k * k);
  for (int i = 0; i < k * k; ++i) taps[i].offset = plane.offset(i / k, i % k);
  const size_t in_size = static_cast<size_t>(g.height) * g.width;
  const size_t out_size = static_cast<size_t>(g.out_height) * g.out_width;
#pragma omp for schedule(dynamic, 8) nowait
  for (int i = 0; i < images * part.channels; ++i) {
    const int c = i % part.channels;
    const size_t at = static_cast<size_t>(i / part.channels) * all_channels + part.first_channel + c;
    for (int t = 0; t < k * k; ++t) taps[t].weight = part.weights[c * k * k + t];
    plane.fill(x + at * in_size, g.height, g.width, x_end);
    correlate<L>(plane.data, g.stride * plane.pitch, taps.data(), k * k, y + at * out_size, g.out_height,
                 g.out_width);
  }
}

// dx at padded row t, column u takes dy[(t - ky) / 2][(u - kx) / 2] where both divide (stride 2), so
// each parity of t and u is a correlation of dy with every second tap, reversed.
template <int L>
void input_gradient_part(const Part& part, const Geometry& g, int images, int all_channels,
                         const float* dy, const float* dy_end, float* dx) {
  const int k = g.kernel, s = g.stride;
  // Rows above the first of dy that the first row of dx can reach.
  const int before = (k - 1) / s;
  const int phase_rows = (g.height + g.pad_top + s - 1) / s, phase_columns = (g.width + g.pad_left + s - 1) / s;
  Padded<L> plane(0, 1, before, before, g.out_height, g.out_width, phase_rows + 1, phase_columns + 1,
                  before + 1, before + 1);
  struct Phase {
    int row, column, first_row, first_column, rows, columns;
    std::vector<Tap> taps;
    std::vector<int> index;
  };
  std::vector<Phase> phases;
  for (int a = 0; a < s; ++a)
    for (int b = 0; b < s; ++b) {
      Phase phase;
      // The first row of dx whose padded row t = row + pad_top has t % s == a.
      phase.row = ((a - g.pad_top) % s + s) % s;
      phase.column = ((b - g.pad_left) % s + s) % s;
      phase.first_row = (phase.row + g.pad_top) / s;
      phase.first_column = (phase.column + g.pad_left) / s;
      phase.rows = phase.row < g.height ? (g.height - phase.row + s - 1) / s : 0;
      phase.columns = phase.column < g.width ? (g.width - phase.column + s - 1) / s : 0;
      for (int ky = a; ky < k; ky += s)
        for (int kx = b; kx < k; kx += s) {
          const int row = phase.first_row - ky / s + before, column = phase.first_column - kx / s + before;
          phase.taps.push_back({plane.offset(row, column), 0.0f});
          phase.index.push_back(ky * k + kx);
        }
      if (phase.rows > 0 && phase.columns > 0) phases.push_back(std::move(phase));
    }
  const size_t in_size = static_cast<size_t>(g.height) * g.width;
  const size_t out_size = static_cast<size_t>(g.out_height) * g.out_width;
  float* separate = s == 1 ? nullptr : scratch(1, in_size + 4 * kLanes);
#pragma omp for schedule(dynamic, 8) nowait
  for (int i = 0; i < images * part.channels; ++i) {
    const int c = i % part.channels;
    const size_t at = static_cast<size_t>(i / part.channels) * all_channels + part.first_channel + c;
    const float* weights = part.weights + c * k * k;
    plane.fill(dy + at * out_size, g.out_height, g.out_width, dy_end);
    float* to = dx + at * in_size;
    for (Phase& phase : phases) {
      for (size_t t = 0; t < phase.taps.size(); ++t) phase.taps[t].weight = weights[phase.index[t]];
      float* result = s == 1 ? to : separate;
      correlate<L>(plane.data, plane.pitch, phase.taps.data(), static_cast<int>(phase.taps.size()), result,
                   phase.rows, phase.columns);
      if (s == 1) continue;
      for (int y = 0; y < phase.rows; ++y) {
        float* row = to + static_cast<size_t>(phase.row + s * y) * g.width + phase.column;
        for (int x = 0; x < phase.columns; ++x) row[2 * x] = result[y * phase.columns + x];
      }
    }
  }
}

template <int L, int Taps>
inline void weight_gradient_taps(const float* dy, int dy_pitch, const float* from, int row_step,
                                 const int* offsets, int height, int width,
                                 float* totals) {
  using V = Lanes<L>;
  typename V::Vec sums[Taps] = {};
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; x += L) {
      const auto d = V::load(dy + y * dy_pitch + x);
      const float* source = from + y * row_step + x;
#pragma GCC unroll 16
      for (int t = 0; t < Taps; ++t) sums[t] += d * V::load(source + offsets[t]);
    }
  for (int t = 0; t < Taps; ++t) V::store(totals + t * L, V::load(totals + t * L) + sums[t]);
}

template <int L>
void weight_gradient_part(const Part& part, const Geometry& g, int images, int all_channels, const float* x,
                          const float* x_end, const float* dy, const float* dy_end) {
  using V = Lanes<L>;
  constexpr int kGroup = 9;
  const int k = g.kernel, count = k * k;
  Padded<L> plane(0, g.stride, g.pad_top, g.pad_left, g.height, g.width, g.out_height,
                  (g.out_width + L - 1) / L * L, k, k);
  // Zeros after each row of dy: what is read there of x counts for nothing.
  Padded<L> delta(1, 1, 0, 0, g.out_height, g.out_width, g.out_height, g.out_width, 1, 1);
  std::vector<int> offsets(count);
  for (int i = 0; i < count; ++i) offsets[i] = plane.offset(i / k, i % k);
  std::vector<float> totals(count * L);
  const size_t in_size = static_cast<size_t>(g.height) * g.width;
  const size_t out_size = static_cast<size_t>(g.out_height) * g.out_width;
  const int row_step = g.stride * plane.pitch;
#pragma omp for schedule(dynamic, 1) nowait
  for (int c = 0; c < part.channels; ++c) {
    std::fill(totals.begin(), totals.end(), 0.0f);
    for (int n = 0; n < images; ++n) {
      const size_t at = static_cast<size_t>(n) * all_channels + part.first_channel + c;
      plane.fill(x + at * in_size, g.height, g.width, x_end);
      delta.fill(dy + at * out_size, g.out_height, g.out_width, dy_end);
      int t = 0;
      for (; t + kGroup <= count; t += kGroup)
        weight_gradient_taps<L, kGroup>(delta.data, delta.pitch, plane.data, row_step, &offsets[t],
                                        g.out_height, g.out_width, &totals[t * L]);
      for (; t + 4 <= count; t += 4)
        weight_gradient_taps<L, 4>(delta.data, delta.pitch, plane.data, row_step, &offsets[t], g.out_height,
                                   g.out_width, &totals[t * L]);
      for (; t < count; ++t)
        weight_gradient_taps<L, 1>(delta.data, delta.pitch, plane.data, row_step, &offsets[t], g.out_height,
                                   g.out_width, &totals[t * L]);
    }
    for (int t = 0; t < count; ++t) part.gradient[c * count + t] = V::sum(V::load(&totals[t * L]));
  }
}

// Calls `act` with the vector width that wastes least on rows `width` wide.
template <typename Act>
void with_lanes(int width, Act act) {
  if (kLanes > 8 && width > 8)
    act(std::integral_constant<int, kLanes>{});
  else
    act(std::integral_constant<int, std::min(kLanes, 8)>{});
}

std::vector<Part> parts_of(const Arguments& a, int first, int count) {
  std::vector<Part> parts;
  int channel = 0;
  for (int i = 0; i < count; ++i) {
    parts.push_back({a.dim(first + i, 2), channel, a.dim(first + i, 0), a.data(first + i), nullptr});
    channel += a.dim(first + i, 0);
  }
  return parts;
}

// (x, weights...) -> y
int forward(const Arguments& a, bool same) {
  if (a.count < 3) return 1;
  const int y = a.count - 1;
  const auto parts = parts_of(a, 1, a.count - 2);
  const int images = a.dim(0, 0), channels = a.dim(0, 1);
#pragma omp parallel
  for (const Part& part : parts) {
    const Geometry g(a.dim(0, 2), a.dim(0, 3), a.dim(y, 2), a.dim(y, 3), part.kernel, same);
    with_lanes(g.out_width, [&](auto lanes) {
      forward_part<decltype(lanes)::value>(part, g, images, channels, a.data(0), a.data(0) + a.size(0),
                                           a.data(y));
    });
  }
  return 0;
}

// (dy, x, weights...) -> dx; of x only the shape is used.
int input_gradient(const Arguments& a, bool same) {
  if (a.count < 4) return 1;
  const int dx = a.count - 1;
  const auto parts = parts_of(a, 2, a.count - 3);
  const int images = a.dim(1, 0), channels = a.dim(1, 1);
#pragma omp parallel
  for (const Part& part : parts) {
    const Geometry g(a.dim(1, 2), a.dim(1, 3), a.dim(0, 2), a.dim(0, 3), part.kernel, same);
    with_lanes(g.out_width, [&](auto lanes) {
      input_gradient_part<decltype(lanes)::value>(part, g, images, channels, a.data(0),
                                                  a.data(0) + a.size(0), a.data(dx));
    });
  }
  return 0;
}

// (dy, x, weights...) -> gradients...; of the weights only the shapes are used.
int weight_gradient(const Arguments& a, bool same) {
  if (a.count < 4 || a.count % 2 != 0) return 1;
  const int parts_count = (a.count - 2) / 2;
  auto parts = parts_of(a, 2, parts_count);
  for (int i = 0; i < parts_count; ++i) parts[i].gradient = a.data(2 + parts_count + i);
  const int images = a.dim(1, 0), channels = a.dim(1, 1);
#pragma omp parallel
  for (const Part& part : parts) {
    const Geometry g(a.dim(1, 2), a.dim(1, 3), a.dim(0, 2), a.dim(0, 3), part.kernel, same);
    with_lanes(g.out_width, [&](auto lanes) {
      weight_gradient_part<decltype(lanes)::value>(part, g, images, channels, a.data(1),
                                                   a.data(1) + a.size(1), a.data(0),
                                                   a.data(0) + a.size(0));
    });
  }
  return 0;
}

}  // namespace

#define MIXNET_MIXCONV(padding, same)                                                          \
  MIXNET_OPERATOR(mixconv_forward_##padding, 0) { return forward(a, same); }                   \
  MIXNET_OPERATOR(mixconv_input_gradient_##padding, 0) { return input_gradient(a, same); }     \
  MIXNET_OPERATOR(mixconv_weight_gradient_##padding, 0) { return weight_gradient(a, same); }

MIXNET_MIXCONV(symmetric, false)
MIXNET_MIXCONV(same, true)
