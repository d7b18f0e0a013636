# Options, language level and warnings.
set(ASSAY_CUDA AUTO CACHE STRING "CUDA back end: AUTO (where the toolkit is found), ON (an error without it), OFF")
set(ASSAY_CUDA_ARCHITECTURES "80;90" CACHE STRING "GPU architectures of the CUDA back end")
set(ASSAY_SANITIZE "" CACHE STRING "Sanitizers, comma separated: address,undefined or thread")
option(ASSAY_TESTS "Build the tests and the operation benchmarks" ON)

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # ccache takes part with precompiled headers only where it may trust them: ours hold system headers alone.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

# lightly_optimised(TARGET REGEX): the optimiser takes 30 to 40 % of a file's time, so that files without hot loops
# over numbers get -O1. Results keep their bits: no level lets the compiler reorder arithmetic. (At -O1 GCC takes paths that
# nothing takes for reads of what is not initialised.)
function(lightly_optimised target regex)
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX ${regex})
  set_property(SOURCE ${sources} APPEND PROPERTY COMPILE_OPTIONS -O1 -Wno-maybe-uninitialized)
endfunction()

# precompile(TARGET HEADER…): what most of its files include, and these, parsed once. System headers only, so that an
# edit of ours never touches them; files include what they use all the same, and clang-tidy reads them without. It pays
# for the commands and the tests, whose headers are large; elsewhere loading costs what parsing did.
set(ASSAY_COMMON_HEADERS <algorithm> <array> <cmath> <cstdint> <cstring> <filesystem> <fstream> <functional> <map>
  <memory> <numeric> <optional> <random> <set> <span> <string> <unordered_map> <vector> <fmt/format.h>
  <nlohmann/json.hpp>)
function(precompile target)
  if(NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)  # ccache asks for it
    target_precompile_headers(${target} PRIVATE ${ASSAY_COMMON_HEADERS} ${ARGN})
  endif()
endfunction()
# precompile_as(TARGET OTHER): those that OTHER has precompiled with the same flags.
function(precompile_as target other)
  if(NOT CMAKE_DISABLE_PRECOMPILE_HEADERS)
    target_compile_options(${target} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>)
    target_precompile_headers(${target} REUSE_FROM ${other})
  endif()
endfunction()

# Flags of our own code. AVX2 and FMA are the floor; AVX-512 files choose more and are entered by run-time dispatch.
# (-Wno-restrict: GCC 12 sees overlapping copies inside std::string, GCC bug 105329.)
# No contraction: a*b+c has the bits it says, wherever it is compiled.
add_library(assay_flags INTERFACE)
target_compile_options(assay_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-march=x86-64-v3 -ffp-contract=off -Wall -Wextra -Wpedantic -Wshadow -Werror -Wno-restrict>)
target_include_directories(assay_flags INTERFACE ${CMAKE_SOURCE_DIR})
if(ASSAY_SANITIZE)
  target_compile_options(assay_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${ASSAY_SANITIZE} -fno-omit-frame-pointer>)
  target_link_options(assay_flags INTERFACE -fsanitize=${ASSAY_SANITIZE})
endif()
