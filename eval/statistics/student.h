// Student's t with any number of degrees of freedom.
#pragma once

namespace assay::eval {

/// P(|T| >= |t|) for T with df > 0 degrees of freedom, by the incomplete beta function; t may be
/// infinite. Relative error below 1e-9 for df up to 1e5.
double student_two_sided(double t, double df);

/// The q with P(T <= q) = p, for p in (0, 1) and df > 0; relative error below 1e-9.
double student_quantile(double p, double df);

/// The true value, in standard errors, that a two-sided test at `alpha` tells from 0 on its own
/// side with probability `power`: the noncentrality of T, for df of 1 or more; relative error below
/// 1e-6.
double student_shift(double power, double df, double alpha);

}  // namespace assay::eval
