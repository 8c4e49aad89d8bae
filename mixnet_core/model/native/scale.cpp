// Squeeze-and-excite's last step (arXiv:1709.01507): every plane times its gate.

#include "vectors.h"

using V = Lanes<kLanes>;

// (x, gate (N, C, 1, 1)) -> x * gate
MIXNET_OPERATOR(scale_forward, 3) {
  const int planes = a.dim(0, 0) * a.dim(0, 1), size = a.dim(0, 2) * a.dim(0, 3);
#pragma omp parallel for schedule(static)
  for (int i = 0; i < planes; ++i) {
    const float gate = a.data(1)[i];
    const float* x = a.data(0) + static_cast<size_t>(i) * size;
    float* y = a.data(2) + static_cast<size_t>(i) * size;
    for (int p = 0; p < size; ++p) y[p] = x[p] * gate;
  }
  return 0;
}

// (dy, x, gate) -> dx = dy * gate, dgate = sum of dy * x over a plane
MIXNET_OPERATOR(scale_backward, 5) {
  const int planes = a.dim(0, 0) * a.dim(0, 1), size = a.dim(0, 2) * a.dim(0, 3);
#pragma omp parallel for schedule(static)
  for (int i = 0; i < planes; ++i) {
    const float gate = a.data(2)[i];
    const size_t at = static_cast<size_t>(i) * size;
    const float *dy = a.data(0) + at, *x = a.data(1) + at;
    float* dx = a.data(3) + at;
    V::Vec sum{};
    int p = 0;
    for (; p + kLanes <= size; p += kLanes) {
      const V::Vec d = V::load(dy + p);
      sum += d * V::load(x + p);
      V::store(dx + p, d * gate);
    }
    float total = V::sum(sum);
    for (; p < size; ++p) {
      total += dy[p] * x[p];
      dx[p] = dy[p] * gate;
    }
    a.data(4)[i] = total;
  }
  return 0;
}
