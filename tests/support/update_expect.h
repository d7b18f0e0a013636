// What a back end's answer to a case of backward_update must be.
#pragma once

#include <gtest/gtest.h>

#include "tests/support/kernel_cases.h"

namespace assay::support {

/// The same bits in everything the update changes, the screening copy aside.
inline void expect_same(const UpdateProblem& found, const UpdateProblem& expected) {
  EXPECT_EQ(found.w_enc, expected.w_enc);
  EXPECT_EQ(found.w_enc_m, expected.w_enc_m);
  EXPECT_EQ(found.w_enc_v, expected.w_enc_v);
  EXPECT_EQ(found.w_dec, expected.w_dec);
  EXPECT_EQ(found.w_dec_m, expected.w_dec_m);
  EXPECT_EQ(found.w_dec_v, expected.w_dec_v);
  EXPECT_EQ(found.b_enc, expected.b_enc);
  EXPECT_EQ(found.b_enc_m, expected.b_enc_m);
  EXPECT_EQ(found.b_enc_v, expected.b_enc_v);
  EXPECT_EQ(found.center, expected.center);
}

}  // namespace assay::support
