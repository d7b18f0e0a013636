#include "data/pass.h"

namespace assay::data {

std::shared_ptr<const Pass> make_pass(std::shared_ptr<const Dataset> dataset,
                                      const StreamOptions& options, PlanVariant variant) {
  std::vector<std::string> skipped;
  if (options.skip_corrupt) {
    std::vector<std::string> hooks = options.more_hooks;
    hooks.push_back(options.hook);
    for (CorruptChunk& found : dataset->corrupt_chunks(hooks, options.readers)) {
      variant.left_out.insert(found.chunk);
      skipped.push_back(std::move(found.what));
    }
  }
  StreamPlan plan(*dataset, options, std::move(variant));
  return std::make_shared<const Pass>(
      Pass{std::move(dataset), std::move(plan), std::move(skipped)});
}

}  // namespace assay::data
