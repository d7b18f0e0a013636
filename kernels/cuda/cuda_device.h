// What the CPU side of a build with CUDA asks about devices. Defined only where ASSAY_CUDA is.
#pragma once

namespace assay {

/// Devices that this process can use; 0 without a driver.
int cuda_device_count();

}  // namespace assay
