// The device step on any machine: the device's, or the emulator's in the ordinary tests.
//
// In order, on one stream: centre and round the batch, encode (encode_topk.cuh); decode, residual
// and the values' gradient in one pass a row; count the pairs by latent, which also tells who
// fired; AuxK where a latent may be dead; order the pairs by latent; centre's gradient; the fused
// update of every latent; the decoder's bias; totals.
// A row that is not finite raises a flag on the device, and every kernel that changes something
// looks at it: the state stays what it was before the bad step until the host reads the flag with
// the totals.
// Whether a latent may be dead the host knows without asking: silence grows by a batch a step from
// what a late, never awaited reading of the largest silence said. So AuxK costs nothing while none
// can be dead.
#pragma once

#include <cmath>

#include "kernels/cuda/topk_step.h"
#include "kernels/cuda/topk_step_kernels.cuh"

namespace assay {

template <class M>
class TopKStepOn {
 public:
  TopKStepOn(M& machine, const TopKStepOptions& o)
      : machine_(machine),
        o_(o),
        w_enc_(machine, o.n, o.d),
        w_dec_(machine, o.n, o.d),
        b_enc_(machine, 1, o.n),
        b_dec_(machine, 1, o.d),
        silent_(machine, o.n),
        copy_(machine, o.n, o.d),
        ring_(machine.input_ring(static_cast<size_t>(o.batch * o.d) * sizeof(float))),
        centred_(machine, o.batch * o.d),
        gradient_(machine, (o.aux_coefficient > 0 ? 2 : 1) * o.batch * o.d),
        residual_(machine, o.batch * o.d),
        main_(machine, o.batch, o.k),
        aux_(machine, o.batch, o.aux_coefficient > 0 ? o.aux_k : 0),
        columns_(machine, o.d),
        aux_variance_(machine, 1),
        center_parts_(machine, center_parts_of(o.n) * o.d),
        center_(machine, o.d),
        counters_(machine, 2),
        most_silent_(machine, 1),
        totals_(machine, 1),
        bad_(machine, 1),
        sort_(machine, o.n, o.batch * (o.k + (o.aux_coefficient > 0 ? o.aux_k : 0))),
        encode_(machine, o.batch, o.n, o.d, o.k),
        silence_(machine.reading(most_silent_.data(), sizeof(uint32_t))) {
    const long long none = NumericFlag::kNone;
    bad_.upload(&none);
    totals_.clear();
  }

  void upload(const TopKHostState& state) {
    each(state, [](const ParameterOn& here, const MovingParameter& host) {
      here.value.upload(host.value);
      here.m.upload(host.m);
      here.v.upload(host.v);
    });
    silent_.upload(state.silent);
    step_ = state.step;
    most_silent_bound_ = *std::max_element(state.silent, state.silent + o_.n);
    reading_since_ = -1;
    copy_.refresh(machine_, matrix(w_enc_.value));
  }

  int64_t download(const TopKHostState& state) {
    each(state, [](const ParameterOn& here, const MovingParameter& host) {
      here.value.download(host.value);
      here.m.download(host.m);
      here.v.download(host.v);
    });
    silent_.download(state.silent);
    return step_;
  }

  Matrix input() { return {static_cast<float*>(ring_->host()), o_.batch, o_.d}; }

  void run(double lr) {
    const ConstMatrix x(static_cast<const float*>(ring_->send()), o_.batch, o_.d);
    const AdamStep adam = adam_of_step(lr);
    const DeviceFlag flag{bad_.data(), static_cast<long long>(step_) << 32};
    encode_.run(encoder(), x, b_dec_.value.data(), matrix(centred_), {}, true, main_.indices.data(),
                main_.values.data(), flag);
    reconstruct(main_, x, b_dec_.value.data(), 0, residual_.data(), -2, nullptr, flag);
    sort_.start();
    sort_.count(main_.source(0), o_.batch);
    counters_.clear();
    most_silent_.clear();
    machine_(SilenceKernel{sort_.counts(), o_.n, o_.batch, o_.dead_after, silent_.data(),
                           counters_.data(), most_silent_.data(), counters_.data() + 1, flag},
             blocks_of(o_.n, SilenceKernel::kThreads), 0);
    const bool aux = may_be_dead();
    if (aux) auxiliary(flag);
    update(adam, aux, flag);
    machine_(FinishStepKernel{main_.row_loss.data(), aux ? aux_.row_loss.data() : nullptr, o_.batch,
                              o_.variance, aux_variance_.data(), counters_.data(),
                              counters_.data() + 1, totals_.data(), flag},
             1, 0);
    ++step_;
  }

  TopKStepReport report() {
    const TopKTotals totals = totals_.read()[0];
    const long long bad = bad_.read()[0];
    totals_.clear();
    TopKStepReport r;
    r.steps = totals.steps;
    const auto steps = static_cast<double>(std::max<long long>(1, totals.steps));
    r.fvu = totals.fvu / steps;
    r.aux_loss = totals.aux_loss / steps;
    r.loss = r.fvu + o_.aux_coefficient * r.aux_loss;
    r.l0 = static_cast<double>(totals.active) / (steps * static_cast<double>(o_.batch));
    r.dead = totals.dead;
    if (bad != NumericFlag::kNone) {
      r.bad_step = bad >> 32;
      r.bad_row = bad & 0xffffffffll;
    }
    return r;
  }

  // For tests: the codes of the last batch, and the encoder's copy.
  std::vector<int32_t> indices() const { return main_.indices.read(); }
  std::vector<float> values() const { return main_.values.read(); }

 private:
  /// Exactly `k` pairs a row, those without a winner zero.
  struct Codes {
    int64_t k;
    Buffer<int64_t> row_offsets;
    Buffer<int32_t> indices;
    Buffer<float> values, d_values;
    Buffer<double> row_loss;

    Codes(Machine& machine, int64_t batch, int64_t k_)
        : k(k_),
          row_offsets(machine, offsets(batch, k_)),
          indices(machine, batch * k_),
          values(machine, batch * k_),
          d_values(machine, batch * k_),
          row_loss(machine, batch) {}
    PairSource source(int64_t first_row) const {
      return {row_offsets.data(), indices.data(),  values.data(),
              d_values.data(),    d_values.data(), first_row};
    }
    static std::vector<int64_t> offsets(int64_t batch, int64_t k) {
      std::vector<int64_t> all(batch + 1);
      for (int64_t i = 0; i <= batch; ++i) all[i] = i * k;
      return all;
    }
  };

  /// body(a parameter here, the same on the host) for all four.
  template <class Body>
  void each(const TopKHostState& state, const Body& body) const {
    body(w_enc_, state.w_enc);
    body(w_dec_, state.w_dec);
    body(b_enc_, state.b_enc);
    body(b_dec_, state.b_dec);
  }

  Matrix matrix(const Buffer<float>& b) const { return {b.data(), b.count() / o_.d, o_.d}; }
  DeviceEncoder encoder() const {
    return {matrix(w_enc_.value), b_enc_.value.data(), copy_.view()};
  }

  AdamStep adam_of_step(double lr) const {
    const auto t = static_cast<double>(step_ + 1);
    return {static_cast<float>(lr / (1 - std::pow(o_.beta1, t))), static_cast<float>(o_.beta1),
            static_cast<float>(o_.beta2), static_cast<float>(o_.eps),
            static_cast<float>(1 / (1 - std::pow(o_.beta2, t)))};
  }

  void reconstruct(const Codes& codes, ConstMatrix target, const float* bias, int64_t first_row,
                   float* residual, double numerator, const double* measured,
                   const DeviceFlag& flag) {
    const Matrix g = matrix(gradient_).slice(first_row, o_.batch);
    const auto* offsets = codes.row_offsets.data();
    machine_(ReconstructKernel{{offsets, codes.indices.data(), codes.values.data(),
                                matrix(w_dec_.value), bias, g},
                               {offsets, codes.indices.data(), codes.values.data(), g,
                                matrix(w_dec_.value), codes.d_values.data()},
                               target,
                               residual,
                               codes.row_loss.data(),
                               numerator,
                               o_.variance,
                               measured,
                               flag},
             o_.batch, ReconstructKernel::shared_bytes());
  }

  /// May a latent be dead after this step's silence? An upper bound of the largest silence that
  /// grows by a batch a step and falls when a reading arrives.
  bool may_be_dead() {
    most_silent_bound_ += o_.batch;
    if (reading_since_ >= 0 && silence_->arrived()) {
      uint32_t most = 0;
      std::memcpy(&most, silence_->wait(), sizeof most);
      if (most != 0xffffffffu) {
        most_silent_bound_ =
            std::min(most_silent_bound_, most + (step_ - reading_since_) * o_.batch);
      }
      reading_since_ = -1;
    }
    if (reading_since_ < 0) {
      silence_->request();
      reading_since_ = step_;
    }
    return o_.aux_coefficient > 0 && most_silent_bound_ >= o_.dead_after;
  }

  /// The residual from the best dead latents: rows B…2B−1 of the gradient.
  void auxiliary(const DeviceFlag& flag) {
    if (!encode_aux_) {
      encode_aux_ = std::make_unique<EncodeTopkOn<M>>(machine_, o_.batch, o_.n, o_.d, o_.aux_k);
    }
    machine_(ColumnVarianceKernel{matrix(residual_), columns_.data()}, blocks_of(o_.d, kWarp),
             sizeof(ColumnTile));
    machine_(VarianceSumKernel{columns_.data(), o_.d, aux_variance_.data()}, 1, 0);
    encode_aux_->run(encoder(), matrix(centred_), nullptr, matrix(centred_),
                     {silent_.data(), o_.dead_after, counters_.data()}, true, aux_.indices.data(),
                     aux_.values.data(), flag);
    reconstruct(aux_, matrix(residual_), nullptr, o_.batch, nullptr, -2 * o_.aux_coefficient,
                aux_variance_.data(), flag);
    sort_.count(aux_.source(o_.batch), o_.batch);
  }

  void update(const AdamStep& adam, bool aux, const DeviceFlag& flag) {
    const int64_t rows = aux ? 2 * o_.batch : o_.batch;
    sort_.place();
    sort_.scatter(main_.source(0), o_.batch);
    if (aux) sort_.scatter(aux_.source(o_.batch), o_.batch);
    sort_.finish(rows);
    launch_backward_update(machine_, {matrix(gradient_).slice(0, rows),
                                      matrix(centred_),
                                      sort_.sorted(),
                                      nullptr,
                                      w_enc_.view(),
                                      w_dec_.view(),
                                      b_enc_.view(),
                                      copy_.view(),
                                      {adam},
                                      center_parts_.data(),
                                      center_.data(),
                                      bad_.data()});
    machine_(DecoderBiasKernel{matrix(gradient_).slice(0, o_.batch), center_.data(), adam,
                               b_dec_.value.data(), b_dec_.m.data(), b_dec_.v.data(), flag},
             blocks_of(o_.d, kWarp), DecoderBiasKernel::shared_bytes(o_.batch));
  }

  M& machine_;
  TopKStepOptions o_;
  ParameterOn w_enc_, w_dec_, b_enc_, b_dec_;
  Buffer<int64_t> silent_;
  ScreenCopyOn copy_;
  std::unique_ptr<InputRing> ring_;
  Buffer<float> centred_, gradient_, residual_;  // [B, d], [B or 2B, d], [B, d]
  Codes main_, aux_;
  Buffer<double> columns_, aux_variance_;
  Buffer<float> center_parts_, center_;
  Buffer<int32_t> counters_;  // dead, active
  Buffer<uint32_t> most_silent_;
  Buffer<TopKTotals> totals_;
  Buffer<long long> bad_;
  SortByLatentOn<M> sort_;
  EncodeTopkOn<M> encode_;
  std::unique_ptr<EncodeTopkOn<M>> encode_aux_;
  std::unique_ptr<Reading> silence_;
  int64_t step_ = 0, most_silent_bound_ = 0;
  int64_t reading_since_ = -1;  // the step whose largest silence is on its way
};

}  // namespace assay
