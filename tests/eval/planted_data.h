// A small data set with known answers: each text of class c carries direction c, each document has
// one definition and one or two examples. Special tokens (first and last of a text) hold a huge
// constant that would spoil any sum they entered.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/shard_writer.h"
#include "kernels/base/random.h"
#include "sae/dictionary.h"
#include "tests/support/files.h"

namespace assay::eval::test {

struct PlantedOptions {
  int64_t d = 24, classes = 4, documents = 400;
  double strength = 4;            ///< of the class direction; noise has sd 1
  bool random_labels = false;     ///< labels that the activations know nothing of
  std::string format = "format";  ///< name of the domain label
  bool verbs = false;             ///< every fifth document is a verb's
  bool whole_texts = true;        ///< false: positions start at 1
};

/// The columns of the planted data, kept for naive references.
struct Planted {
  PlantedOptions options;
  std::vector<float> x, directions;  ///< [rows, d], [classes, d] orthonormal unit vectors e_c
  std::vector<int32_t> tokens, position, category, part_of_speech, format;
  std::vector<int64_t> document, text;
  std::vector<uint8_t> special;

  int64_t rows() const { return static_cast<int64_t>(document.size()); }
};

inline void add_planted_text(Planted& p, Rng& rng, int64_t document, int64_t text, int category,
                             int shown, int format) {
  const int64_t d = p.options.d, length = 4 + static_cast<int64_t>(rng.below(5));
  for (int64_t i = 0; i < length; ++i) {
    const bool special = i == 0 || i + 1 == length;
    for (int64_t j = 0; j < d; ++j)
      p.x.push_back(static_cast<float>(
          special ? 1000.0 : rng.normal() + 0.5 + (j == category ? p.options.strength : 0)));
    p.tokens.push_back(static_cast<int32_t>(rng.below(100)));
    p.position.push_back(static_cast<int32_t>(i + (p.options.whole_texts ? 0 : 1)));
    p.category.push_back(shown);
    p.part_of_speech.push_back(p.options.verbs && document / 1000 % 5 == 4 ? 1 : 0);
    p.format.push_back(format);
    p.document.push_back(document);
    p.text.push_back(text);
    p.special.push_back(special);
  }
}

inline Planted make_planted(const PlantedOptions& options, uint64_t seed = 7) {
  Planted p;
  p.options = options;
  Rng rng(seed);
  int64_t text = 0;
  for (int64_t document = 0; document < options.documents; ++document) {
    const int category = static_cast<int>(rng.below(static_cast<uint64_t>(options.classes)));
    const int shown = options.random_labels
                          ? static_cast<int>(rng.below(static_cast<uint64_t>(options.classes)))
                          : category;
    add_planted_text(p, rng, document * 1000 + 17, text++, category, shown, 0);
    const int64_t examples = 1 + static_cast<int64_t>(rng.below(2));
    for (int64_t e = 0; e < examples; ++e)
      add_planted_text(p, rng, document * 1000 + 17, text++, category, shown, 1);
  }
  return p;
}

inline void write_planted(const Planted& p, const std::filesystem::path& folder) {
  data::ShardWriterOptions options;
  options.folder = folder;
  options.d = p.options.d;
  options.dtype = DType::f32;
  options.rows_per_shard = 3000;
  options.chunk_bytes = 250 * p.options.d * 4;
  std::vector<std::string> names;
  for (int64_t c = 0; c < p.options.classes; ++c) names.push_back("class" + std::to_string(c));
  options.labels = {{"category", names},
                    {"part_of_speech", {"noun", "verb"}},
                    {p.options.format, {"definition", "example"}}};
  options.model = "planted";
  options.hook = "layer0";
  data::ShardWriter writer(options);
  data::RowBlock block;
  block.x = ConstMatrix(p.x.data(), p.rows(), p.options.d);
  block.tokens = p.tokens;
  block.document = p.document;
  block.position = p.position;
  block.special = p.special;
  block.text = p.text;
  block.labels = {p.category, p.part_of_speech, p.format};
  writer.append(block);
  writer.finish();
}

/// Latent j reads and writes ±e_j: with k = n = 2d it reconstructs everything but the offset b_dec,
/// exactly.
inline sae::Dictionary identity_dictionary(int64_t d, int64_t k) {
  sae::Dictionary dictionary;
  dictionary.info.d = d;
  dictionary.info.n = 2 * d;
  dictionary.info.k = k;
  dictionary.w_dec.assign(static_cast<size_t>(2 * d * d), 0.0f);
  for (int64_t j = 0; j < d; ++j) {
    dictionary.w_dec[static_cast<size_t>(j * d + j)] = 1;
    dictionary.w_dec[static_cast<size_t>((d + j) * d + j)] = -1;
  }
  dictionary.w_enc = dictionary.w_dec;
  dictionary.b_enc.assign(static_cast<size_t>(2 * d), 0.0f);
  dictionary.b_dec.assign(static_cast<size_t>(d), 0.0f);
  return dictionary;
}

/// A dictionary of random weights that no symmetry helps.
inline sae::Dictionary random_dictionary(int64_t d, int64_t n, int64_t k, uint64_t seed) {
  sae::Dictionary dictionary;
  dictionary.info.d = d;
  dictionary.info.n = n;
  dictionary.info.k = k;
  Rng rng(seed);
  for (int64_t i = 0; i < n * d; ++i) {
    dictionary.w_enc.push_back(static_cast<float>(0.3 * rng.normal()));
    dictionary.w_dec.push_back(static_cast<float>(0.3 * rng.normal()));
  }
  for (int64_t i = 0; i < n; ++i)
    dictionary.b_enc.push_back(static_cast<float>(0.1 * rng.normal()));
  for (int64_t j = 0; j < d; ++j)
    dictionary.b_dec.push_back(static_cast<float>(0.5 * rng.normal()));
  return dictionary;
}

}  // namespace assay::eval::test
