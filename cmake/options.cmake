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
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

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
