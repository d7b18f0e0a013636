# Libraries from the system (any prefix through CMAKE_PREFIX_PATH) and libtorch from the Python wheel.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Eigen3 REQUIRED NO_MODULE)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(HDF5 REQUIRED COMPONENTS C)
add_library(assay_hdf5 INTERFACE)
target_include_directories(assay_hdf5 SYSTEM INTERFACE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(assay_hdf5 INTERFACE ${HDF5_C_LIBRARIES})

# find_package(Torch) demands the CUDA toolkit and turns CMAKE_CUDA_ARCHITECTURES off, so the wheel is imported by hand.
set(ASSAY_VENV ${CMAKE_SOURCE_DIR}/.venv CACHE PATH "Python environment made by cmake/setup.sh")
file(GLOB torch_candidates ${ASSAY_VENV}/lib/python3*/site-packages/torch)
list(APPEND torch_candidates "")
list(GET torch_candidates 0 torch_found)
set(ASSAY_TORCH_DIR "${torch_found}" CACHE PATH "The torch package's folder (with include/ and lib/)")
if(NOT EXISTS "${ASSAY_TORCH_DIR}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "libtorch not found at '${ASSAY_TORCH_DIR}': run bash cmake/setup.sh, or set ASSAY_TORCH_DIR")
endif()
add_library(assay_torch INTERFACE)
# -idirafter: the wheel's fmt must not shadow the system's.
target_compile_options(assay_torch INTERFACE
  "SHELL:-idirafter ${ASSAY_TORCH_DIR}/include" "SHELL:-idirafter ${ASSAY_TORCH_DIR}/include/torch/csrc/api/include")
target_link_directories(assay_torch INTERFACE ${ASSAY_TORCH_DIR}/lib)
# New dtags are off so that the packages AOTInductor opens find libtorch by our RPATH.
target_link_options(assay_torch INTERFACE -Wl,--disable-new-dtags -Wl,-rpath,${ASSAY_TORCH_DIR}/lib -Wl,--allow-shlib-undefined)
target_link_libraries(assay_torch INTERFACE torch_cpu c10)
