// tc_machine.cpp: asks libtorch what it was built for and what it finds. Leaves devices
// that are in use to tc_core.cpp.
#include "diffens/tc_machine.h"

#include <ATen/DeviceAccelerator.h>
#include <ATen/Version.h>

#include <string>

const char *tc_accelerator(int *count)
{
    static std::string name;
    *count = 0;
    try {
        auto accelerator = at::accelerator::getAccelerator(false);
        if (!accelerator)
            return nullptr;
        name = c10::DeviceTypeName(*accelerator, true);
        *count = at::accelerator::deviceCount();
        return name.c_str();
    } catch (...) {
        return nullptr;
    }
}

const char *tc_cpu_capability(void)
{
    static std::string name;
    try {
        name = at::get_cpu_capability();
        return name.c_str();
    } catch (...) {
        return "unknown";
    }
}
