#include "eval/tasks/core/splice.h"

#include <map>

#include "eval/results/families.h"
#include "eval/statistics/inference.h"
#include "eval/tasks/core/declare.h"
#include "eval/tasks/core/measured.h"
#include "eval/tasks/core/settings.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "sae/model_half.h"

namespace assay::eval::core {
namespace {

/// Losses of one variant summed over each document's texts.
struct DocumentLosses {
  std::vector<double> loss, texts;
};

template <class Pick>
DocumentLosses by_document(const std::vector<SpliceLoss>& losses, const Pick& pick) {
  std::map<int64_t, std::pair<double, double>> sums;
  for (const SpliceLoss& loss : losses) {
    sums[loss.document].first += pick(loss);
    sums[loss.document].second += 1;
  }
  DocumentLosses result;
  for (const auto& [document, sum] : sums) {
    result.loss.push_back(sum.first);
    result.texts.push_back(sum.second);
  }
  return result;
}

struct SplicePlan {
  TextTable table;
  std::vector<int64_t> texts;
};

class SpliceTask : public PlannedTask<SplicePlan> {
 public:
  std::string missing(const Session& session) const override {
    return lacks_halves(session, sae::HalfOutput::embedding);
  }

 private:
  SplicePlan make_plan(const Session& session, EncodeRequest&) const override {
    SplicePlan plan{text_table(session.dataset), {}};
    plan.texts =
        choose_splice_texts(plan.table, session.rule, session.config.of<SpliceConfig>().texts,
                            derive_seed(session.seed, {'t'}));
    if (plan.texts.empty())
      throw Error("splice: the validation split holds no text: raise data.validation");
    return plan;
  }

  void run_plan(const Session& session, const EncodeCache&, const SplicePlan& plan,
                TaskResult& result) const override {
    const data::HookInfo& hook = session.dataset.hook("activations");
    std::vector<const sae::Dictionary*> dictionaries;
    for (const EvalDictionary& d : session.dictionaries) dictionaries.push_back(&d.dictionary);
    const auto folder = sae::ModelFolder::open(session.model, session.trust_model_code);
    const data::DatasetInfo& info = session.dataset.info();
    sae::check_fit(folder, hook.d, info.model, info.hook, info.path.string());
    // TorchScript rather than the compiled half: it runs on any CPU, and a few hundred texts need
    // no speed.
    const auto upper =
        sae::load_upper_half(folder, sae::HalfKind::script, session.context.pool().threads());
    const auto losses =
        splice_losses(session.context, session.dataset, plan.table, plan.texts, dictionaries,
                      hook.mean, *upper, session.config.of<SpliceConfig>().batch);
    declare_splice(result);
    report(session, losses, result);
  }

  static void report(const Session& session, const std::vector<SpliceLoss>& losses,
                     TaskResult& result) {
    const DocumentLosses zero = by_document(losses, [](const SpliceLoss& l) { return l.zero; });
    const DocumentLosses mean = by_document(losses, [](const SpliceLoss& l) { return l.mean; });
    Number base;
    base.part = "validation";
    base.n = std::ssize(losses);
    base.n_unit = "texts";
    const auto add = [&](const char* metric, const Estimate& estimate) {
      base.metric = metric;
      set_estimate(base, estimate, "documents");
      result.numbers.push_back(base);
    };
    const auto mean_loss = [&](const DocumentLosses& l) { return ratio_of(l.loss, l.texts); };
    const auto recovered = [&](const DocumentLosses& l, const DocumentLosses& worst) {
      std::vector<double> gain;
      for (size_t i = 0; i < l.loss.size(); ++i) gain.push_back(worst.loss[i] - l.loss[i]);
      return ratio_of(gain, worst.loss);
    };
    base.method = "zero_ablation";
    add("splice_cosine_loss", mean_loss(zero));
    base.method = "mean_ablation";
    add("splice_cosine_loss", mean_loss(mean));
    base.method.clear();
    std::vector<int64_t> documents;
    for (const SpliceLoss& loss : losses) documents.push_back(loss.document);
    for (size_t i = 0; i < session.dictionaries.size(); ++i) {
      const EvalDictionary& dictionary = session.dictionaries[i];
      const DocumentLosses own =
          by_document(losses, [i](const SpliceLoss& l) { return l.dictionaries[i]; });
      base.dictionary = dictionary.entry.name;
      base.control = control_of(session, dictionary);
      base.test_seen_in_training = seen_in_training(session, dictionary, documents);
      add("splice_cosine_loss", mean_loss(own));
      add("splice_recovered_zero", recovered(own, zero));
      add("splice_recovered_mean", recovered(own, mean));
    }
  }
};

}  // namespace

const TaskEntry kSplice{
    .name = "splice",
    .title = "Reconstructions spliced into the model",
    .question =
        "For whoever means to intervene through a dictionary: how much of what the model computes "
        "from these activations survives when reconstructions take their place?",
    .make = make_task<SpliceTask>,
};

}  // namespace assay::eval::core
