// Errors every layer throws. The message is one line: it names the file, key or row, what was
// expected, what was found, and what to do. `main` prints it and exits with the class's status.
#pragma once

#include <stdexcept>

namespace assay {

/// A failure of the work itself (bad file, full disk, NaN). Exit status 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The command line or the configuration cannot be used as given. Exit status 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

}  // namespace assay
