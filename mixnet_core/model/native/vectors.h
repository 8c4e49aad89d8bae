// Vectors of float, scratch memory and the calling convention that all operators of this folder share.
//
// Letters: N images, C channels, H and W rows and columns of the input, OH and OW of the output.
// Tensors are contiguous float32 in the order N, C, H, W.

#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

template <int L>
struct VectorTypes;

#define MIXNET_VECTOR_TYPES(L)                                                            \
  template <>                                                                             \
  struct VectorTypes<L> {                                                                 \
    typedef float Vec __attribute__((vector_size(4 * L), aligned(4), may_alias));         \
    typedef int32_t Mask __attribute__((vector_size(4 * L), aligned(4), may_alias));      \
  };

MIXNET_VECTOR_TYPES(4)
MIXNET_VECTOR_TYPES(8)
MIXNET_VECTOR_TYPES(16)

// L floats at any address; GCC and clang lower it to whatever the CPU has.
template <int L>
struct Lanes {
  using Vec = typename VectorTypes<L>::Vec;
  using Mask = typename VectorTypes<L>::Mask;

  static Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
  static void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
  static Vec all(float value) { return Vec{} + value; }

  static float sum(Vec v) {
    float total = 0;
    for (int i = 0; i < L; ++i) total += v[i];
    return total;
  }

  // The first `count` lanes of memory, zeros after them; reads nothing beyond.
  static Vec load_first(const float* p, int count) {
    Vec v{};
    std::memcpy(&v, p, sizeof(float) * count);
    return v;
  }

  static void store_first(float* p, Vec v, int count) { std::memcpy(p, &v, sizeof(float) * count); }

  // e to the v, relative error below 2e-7 where |v| < 87; beyond, the value at 87.
  static Vec exp(Vec v) {
    const Vec low = all(-87.0f), high = all(87.0f);
    v = v < low ? low : v;
    v = v > high ? high : v;
    // v = n ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to the nearest whole number.
    const Vec magic = all(12582912.0f);
    const Vec shifted = v * 1.44269504088896341f + magic;
    const Vec n = shifted - magic;
    Vec r = v - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    Vec p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    // Two to the n, put together as the exponent bits of a float.
    const Mask exponent = ((Mask)shifted << 23) + (127 << 23);
    return p * (Vec)exponent;
  }
};

// This thread's buffer number `which`, at least `size` floats, cache-line aligned; contents are left
// as they were.
inline float* scratch(int which, size_t size) {
  thread_local std::vector<float> buffers[4];
  auto& buffer = buffers[which];
  if (buffer.size() < size + 16) buffer.resize(size + 16);
  auto address = reinterpret_cast<uintptr_t>(buffer.data());
  return reinterpret_cast<float*>((address + 63) & ~uintptr_t{63});
}

// What MindSpore passes to an ahead-of-time operator: inputs, then outputs.
struct Arguments {
  int count;
  void** params;
  const int* ndims;
  int64_t** shapes;

  float* data(int i) const { return static_cast<float*>(params[i]); }
  int dim(int i, int axis) const { return static_cast<int>(shapes[i][axis]); }
  int64_t size(int i) const {
    int64_t product = 1;
    for (int axis = 0; axis < ndims[i]; ++axis) product *= shapes[i][axis];
    return product;
  }
};

// Defines what MindSpore calls as `name`; the body sees `a`. `expected` parameters, 0: any number.
// A status other than 0 makes MindSpore raise RuntimeError.
#define MIXNET_OPERATOR(name, expected)                                                     \
  static int name##_body(const Arguments& a);                                               \
  extern "C" int name(int count, void** params, int* ndims, int64_t** shapes, const char**, \
                      void*, void*) {                                                       \
    if (expected != 0 && count != expected) return 1;                                       \
    return name##_body({count, params, ndims, shapes});                                     \
  }                                                                                         \
  static int name##_body(const Arguments& a)
