#include "sae/end_to_end.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "kernels/base/error.h"

namespace assay::sae {

namespace {

void require_finite(const std::vector<float>& values) {
  if (std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); })) return;
  throw Error(
      "the model's upper half gave a value that is not finite: it does not fit these activations");
}

/// 1 − cos(a, b) and its gradient by b; 1 and 0 where either is 0.
double cosine_loss(const float* a, const float* b, int64_t size, float* gradient) {
  double aa = 0, bb = 0, ab = 0;
  for (int64_t i = 0; i < size; ++i) {
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
    ab += static_cast<double>(a[i]) * b[i];
  }
  std::fill_n(gradient, size, 0.0f);
  if (!(aa > 0 && bb > 0)) return 1;
  const double length = std::sqrt(aa * bb), cosine = ab / length;
  for (int64_t i = 0; i < size; ++i)
    gradient[i] = static_cast<float>(cosine * b[i] / bb - a[i] / length);
  return 1 - cosine;
}

std::vector<double> log_softmax(const float* logits, int64_t size) {
  const double top = *std::max_element(logits, logits + size);
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += std::exp(logits[i] - top);
  std::vector<double> out(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) out[i] = logits[i] - top - std::log(sum);
  return out;
}

/// KL(softmax a ‖ softmax b) and its gradient by b.
double logits_loss(const float* a, const float* b, int64_t size, float* gradient) {
  const std::vector<double> p = log_softmax(a, size), q = log_softmax(b, size);
  double loss = 0;
  for (int64_t i = 0; i < size; ++i) {
    loss += std::exp(p[i]) * (p[i] - q[i]);
    gradient[i] = static_cast<float>(std::exp(q[i]) - std::exp(p[i]));
  }
  return loss;
}

}  // namespace

int64_t TextBatch::ordinary() const { return std::count(special.begin(), special.end(), 0); }

std::vector<float> TextBatch::rows(const Units& units) const {
  const size_t d = units.scale.size();
  std::vector<float> out;
  out.reserve(static_cast<size_t>(ordinary()) * d);
  for (size_t token = 0; token < special.size(); ++token) {
    if (special[token]) continue;
    for (size_t c = 0; c < d; ++c) {
      const double centred = static_cast<double>(raw[token * d + c]) - units.shift[c];
      out.push_back(static_cast<float>(centred * units.scale[c]));
    }
  }
  return out;
}

/// Texts side by side, filled up to the longest.
struct EndToEnd::Padded {
  int64_t length = 0;
  std::vector<float> residual;  // [count, length, d]
  std::vector<int64_t> mask;    // [count, length]
};

EndToEnd::EndToEnd(Context& context, const UpperHalf& upper, OutputLoss loss, double share,
                   Units units, int64_t at_once)
    : context_(context),
      upper_(upper),
      loss_(loss),
      share_(share),
      units_(std::move(units)),
      at_once_(at_once) {}

/// body(first text, count) for parts whose number depends on the batch alone.
template <class Body>
void EndToEnd::for_parts(const Body& body) const {
  context_.pool().run((texts() + at_once_ - 1) / at_once_, [&](int64_t part, int) {
    const int64_t first = part * at_once_;
    body(first, std::min(at_once_, texts() - first));
  });
}

EndToEnd::Padded EndToEnd::pad(int64_t first, int64_t count, ConstMatrix reconstruction) const {
  const int64_t d = upper_.d();
  Padded out;
  out.length =
      *std::max_element(batch_.lengths.begin() + first, batch_.lengths.begin() + first + count);
  out.residual.resize(count * out.length * d);
  out.mask.resize(count * out.length);
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t i = 0; i < batch_.lengths[first + t]; ++i) {
      const int64_t token = start_[first + t] + i, to = t * out.length + i;
      float* row = out.residual.data() + to * d;
      out.mask[to] = 1;
      if (reconstruction.data && ordinary_[token] >= 0) {
        const float* x = reconstruction.row(ordinary_[token]);
        for (int64_t c = 0; c < d; ++c)
          row[c] = static_cast<float>(x[c] / units_.scale[c] + units_.shift[c]);
      } else {
        std::copy_n(batch_.raw.begin() + token * d, d, row);
      }
    }
  }
  return out;
}

void EndToEnd::load(TextBatch batch) {
  batch_ = std::move(batch);
  start_.assign(1, 0);
  for (const int64_t length : batch_.lengths) start_.push_back(start_.back() + length);
  ordinary_.assign(batch_.special.size(), -1);
  for (size_t token = 0, row = 0; token < batch_.special.size(); ++token) {
    if (!batch_.special[token]) ordinary_[token] = static_cast<int64_t>(row++);
  }
  reference_.resize(texts() * upper_.d_out());
  for_parts([&](int64_t first, int64_t count) {
    const Padded in = pad(first, count, {});
    upper_.run(in.residual.data(), in.mask.data(), count, in.length,
               reference_.data() + first * upper_.d_out());
  });
  require_finite(reference_);
}

/// D's terms of texts [first, first + count), and their gradients by the residual's ordinary rows.
void EndToEnd::differentiate_part(int64_t first, int64_t count, ConstMatrix reconstruction,
                                  double* losses, float* d_rows) const {
  const int64_t d = upper_.d(), d_out = upper_.d_out();
  const Padded in = pad(first, count, reconstruction);
  std::vector<float> out(count * d_out), slope(count * d_out), d_residual(in.residual.size());
  upper_.run(in.residual.data(), in.mask.data(), count, in.length, out.data());
  const auto loss = loss_ == OutputLoss::cosine ? cosine_loss : logits_loss;
  for (int64_t t = 0; t < count; ++t) {
    losses[first + t] = loss(reference_.data() + (first + t) * d_out, out.data() + t * d_out, d_out,
                             slope.data() + t * d_out);
  }
  upper_.gradient(in.residual.data(), in.mask.data(), count, in.length, slope.data(), out.data(),
                  d_residual.data());
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t i = 0; i < batch_.lengths[first + t]; ++i) {
      const int64_t row = ordinary_[start_[first + t] + i];
      if (row >= 0) std::copy_n(d_residual.data() + (t * in.length + i) * d, d, d_rows + row * d);
    }
  }
}

OutsideGradient EndToEnd::differentiate(const OutsideInput& input) {
  OutsideGradient result;
  result.d_reconstruction.resize(input.reconstruction.rows * upper_.d());
  std::vector<double> each(texts());
  for_parts([&](int64_t first, int64_t count) {
    differentiate_part(first, count, input.reconstruction, each.data(),
                       result.d_reconstruction.data());
  });
  divergence_ = std::accumulate(each.begin(), each.end(), 0.0) / static_cast<double>(texts());
  if (!std::isfinite(divergence_))
    throw Error("the end-to-end loss is not finite; lower the learning rate");
  const double weight = divergence_ > 0 ? share_ * input.fvu / divergence_ : 0;
  const auto factor =
      static_cast<float>(weight / (units_.scale.front() * static_cast<double>(texts())));
  for (float& value : result.d_reconstruction) value *= factor;
  require_finite(result.d_reconstruction);
  result.loss = weight * divergence_;
  result.error_weight = 1 - share_;
  return result;
}

}  // namespace assay::sae
