// Zero-padded copies of planes, in which a convolution needs no branch for the border.

#pragma once

#include "vectors.h"

// A zero-padded plane; columns of equal parity lie together when stride is 2.
template <int L>
struct Padded {
  using V = Lanes<L>;
  int stride, top, left, half, pitch, rows;
  float* data;

  // Room for `out` results a row and column through a kernel `taps` wide, read in whole vectors.
  Padded(int buffer, int stride, int top, int left, int height, int width, int out_rows, int out_width,
         int tap_rows, int tap_columns)
      : stride(stride), top(top), left(left) {
    const int reach = std::max((std::max(out_width, L) - 1) * stride + tap_columns, left + width + 1);
    // At least a vector of zeros ends each row: whoever reads whole vectors sees no other row.
    half = (reach + stride - 1) / stride + L;
    pitch = half * stride;
    rows = std::max((out_rows - 1) * stride + tap_rows, top + height);
    data = scratch(buffer, static_cast<size_t>(rows) * pitch);
    std::memset(data, 0, sizeof(float) * rows * pitch);
  }

  int offset(int row, int column) const {
    return row * pitch + (stride == 1 ? column : (column & 1) * half + (column >> 1));
  }

  // Replaces the plane; the border stays zero. `end` is the end of what may be read.
  void fill(const float* plane, int height, int width, const float* end) {
    for (int y = 0; y < height; ++y) {
      const float* from = plane + static_cast<size_t>(y) * width;
      float* to = data + (y + top) * pitch;
      if (stride == 1) {
        copy_row(from, to + left, width, end);
      } else {
        const int odd = left & 1;
        float* even_columns = to + odd * half + (left >> 1);
        float* odd_columns = to + (1 - odd) * half + ((left + 1) >> 1);
        for (int x = 0; x < width / 2; ++x) {
          even_columns[x] = from[2 * x];
          odd_columns[x] = from[2 * x + 1];
        }
        if (width & 1) even_columns[width / 2] = from[width - 1];
      }
    }
  }

 private:
  static void copy_row(const float* from, float* to, int width, const float* end) {
    int x = 0;
    for (; x + L <= width; x += L) V::store(to + x, V::load(from + x));
    if (x == width) return;
    if (from + x + L > end) {
      std::memcpy(to + x, from + x, sizeof(float) * (width - x));
      return;
    }
    typename V::Mask lane, keep;
    for (int i = 0; i < L; ++i) lane[i] = i;
    keep = lane < (typename V::Mask{} + (width - x));
    typename V::Vec v = V::load(from + x);
    V::store(to + x, (typename V::Vec)((typename V::Mask)v & keep));
  }
};

