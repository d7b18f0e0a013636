#include "eval/report/format.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "fmt/format.h"

namespace assay::eval::report {
namespace {

using Names = std::pair<const char*, const char*>;

constexpr std::array kMethods = {
    Names{"dense_lr", "logistic regression"},
    Names{"diff_means", "mean difference"},
    Names{"lda", "LDA"},
    Names{"pca_lr", "PCA + logistic"},
    Names{"knn", "kNN"},
    Names{"tfidf_lr", "TF-IDF (words only)"},
    Names{"quiver_dense", "quiver: best baseline by validation"},
    Names{"quiver_latents", "quiver: best of baselines and latents"},
    Names{"latents_all", "all latents"},
    Names{"latents_all_one_scale", "all latents, not z-scored"},
    Names{"latents_l1", "latents, L1"},
    Names{"reconstruction_lr", "LR on reconstruction"},
    Names{"gated_steering", "gated steering"},
    Names{"gated_mean", "gated mean replacement"},
    Names{"leace", "LEACE"},
    Names{"mean_projection", "mean-difference projection"},
    Names{"contrastive_pca", "contrastive PCA"},
    Names{"fine_tuning", "fine-tuning"},
    Names{"latents_gated", "latents, own gate"},
    Names{"latents_lda_gated", "latents, LDA gate"},
    Names{"random_latents", "rate-matched random latents"},
    Names{"mean_ablation", "every token the mean"},
    Names{"oracle", "oracle (ceiling)"},
    Names{"dense", "no fix"},
    Names{"inlp", "INLP"},
    Names{"paired", "paired differences"},
    Names{"covariate", "format as a covariate"},
    Names{"paired_covariate", "paired differences, format as a covariate"},
    Names{"neurons_drop", "neurons dropped"},
    Names{"latents_drop", "latents dropped"},
    Names{"latents_random", "random latents dropped"},
    Names{"edit", "latents edited out"},
    Names{"edit_covariate", "latents edited out, format as a covariate"},
    Names{"mean_difference", "mean difference"},
    Names{"rates", "artefacts' rates (ceiling)"},
    Names{"direct_query", "direct query (ceiling)"},
    Names{"mean_difference_steering", "mean-difference steering"},
    Names{"gradient_mean_difference", "gradient · mean difference"},
    Names{"probe_direction", "gradient · probe direction"},
    Names{"black_box", "black-box regression"},
    Names{"dense_exemplar", "dense exemplars"},
    Names{"shift_mean", "mean of the shift"},
    Names{"shift_pca", "PCA of the shift"},
    Names{"dense_posterior", "probes' posterior"},
    Names{"ridge_exemplar", "ridge, exemplars"},
    Names{"ridge_mean_difference", "ridge · mean difference"},
    Names{"latents_exemplar", "latents, exemplars"},
    Names{"latents_labelled", "latents, labelled"}};

constexpr std::array kMetrics = {
    Names{"fvu", "FVU"},
    Names{"l0", "L0"},
    Names{"dead_share", "dead share"},
    Names{"cosine", "cosine"},
    Names{"l2_ratio", "norm ratio"},
    Names{"tokens", "tokens"},
    Names{"auroc", "AUROC"},
    Names{"auroc_difference", "AUROC difference"},
    Names{"auroc_permuted_labels", "AUROC, permuted labels"},
    Names{"saebench_accuracy", "SAEBench accuracy"},
    Names{"shared_share", "shared latents"},
    Names{"matched_cosine", "matched cosine"},
    Names{"splice_cosine_loss", "splice: cosine loss"},
    Names{"splice_recovered_zero", "splice: recovered (zero)"},
    Names{"splice_recovered_mean", "splice: recovered (mean)"},
    Names{"anti_auroc", "AUROC, correlation reversed"},
    Names{"within_auroc", "AUROC within a format"},
    Names{"anti_auroc_difference", "difference of AUROC, correlation reversed"},
    Names{"anti_auroc_permuted_labels", "AUROC, permuted labels"},
    Names{"scr", "SCR"},
    Names{"tpp", "TPP"},
    Names{"forget_drop", "forget drop"},
    Names{"retain_damage", "damage"},
    Names{"neighbour_damage", "damage, neighbours"},
    Names{"retain_cosine", "cosine"},
    Names{"edited_share", "texts edited"},
    Names{"frontier_drop", "forget drop"},
    Names{"frontier_damage", "damage"},
    Names{"token_loss", "loss a token"},
    Names{"top1", "top-1"},
    Names{"mrr", "MRR"},
    Names{"mrr_difference", "MRR difference"},
    Names{"mrr_random_goals", "MRR, random goals"},
    Names{"detection_auroc", "detection AUROC"},
    Names{"detection_auroc_plain", "detection, plain benign"},
    Names{"detection_auroc_decoys", "detection, decoys"}};

template <size_t N>
std::string look_up(const std::array<Names, N>& names, const std::string& name) {
  for (const auto& [key, text] : names) {
    if (name == key) return text;
  }
  return name;
}

}  // namespace

std::string method_name(const std::string& method) {
  if (const size_t minus = method.find(" - "); minus != std::string::npos) {
    return method_name(method.substr(0, minus)) + " − " + method_name(method.substr(minus + 3));
  }
  if (const size_t pooled = method.rfind("_pooled");
      pooled != std::string::npos && pooled + 7 == method.size()) {
    return method_name(method.substr(0, pooled)) + ", pooling chosen";
  }
  if (const size_t top = method.find("_top"); top != std::string::npos && top > 0) {
    const std::string what = method.substr(0, top), k = method.substr(top + 4);
    const bool number = !k.empty() && k.find_first_not_of("0123456789") == std::string::npos;
    if (number && (what == "latents" || what == "neurons")) {
      return fmt::format("{} {}", k, k == "1" ? what.substr(0, what.size() - 1) : what);
    }
    if (number)
      return fmt::format("{} {} {}", k, what, k == "1" ? "latent" : "latents");  // of a control
  }
  return look_up(kMethods, method);
}

std::string method_names(const std::string& methods) {
  std::string out;
  size_t from = 0;
  for (size_t slash; (slash = methods.find(" / ", from)) != std::string::npos; from = slash + 3)
    out += method_name(methods.substr(from, slash - from)) + " / ";
  return out + method_name(methods.substr(from));
}

std::string metric_name(const std::string& metric) { return look_up(kMetrics, metric); }

std::string value_text(double value) {
  const double size = std::abs(value);
  if (size >= 1000 && size < 1e15) return count_text(static_cast<int64_t>(std::llround(value)));
  if (size >= 100) return fmt::format("{:.4g}", value);
  if (size >= 10) return fmt::format("{:.2f}", value);
  if (size == 0 || size >= 0.0005) return fmt::format("{:.3f}", value);
  return fmt::format("{:.1e}", value);
}

std::string signed_text(double value) {
  const std::string text = value_text(std::abs(value));
  return value < 0 ? "−" + text : "+" + text;
}

std::string interval_text(const Number& number, bool with_sign) {
  if (!number.interval) return "";
  const auto text = with_sign ? signed_text : value_text;
  return fmt::format("[{}, {}]", text((*number.interval)[0]), text((*number.interval)[1]));
}

std::string estimate_text(const Estimate& estimate, bool with_sign) {
  const auto text = with_sign ? signed_text : value_text;
  return fmt::format("{} [{}, {}]", text(estimate.value), text(estimate.interval[0]),
                     text(estimate.interval[1]));
}

std::string count_text(int64_t count) {
  std::string digits = std::to_string(count);
  for (int64_t at = std::ssize(digits) - 3; at > (count < 0 ? 1 : 0); at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

std::string printable(const std::string& text) {
  std::string out = text;
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

}  // namespace assay::eval::report
