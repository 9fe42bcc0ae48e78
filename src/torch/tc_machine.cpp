// tc_machine.cpp: asks libtorch what it was built for and what it finds. Leaves devices
// that are in use to tc_core.cpp.
#include "diffens/tc_machine.h"
#include "tc_internal.hpp"

#include <ATen/DeviceAccelerator.h>
#include <ATen/Version.h>
#include <c10/util/Exception.h>

#include <string>

namespace
{
struct listener : c10::WarningHandler {
    std::string first;
    void process(const c10::Warning &warning) override
    {
        if (first.empty())
            first = warning.msg();
    }
};
} // namespace

static thread_local listener heard;

void tc_hear_warnings()
{
    c10::WarningUtils::set_warning_handler(&heard);
}

const char *tc_warning(void)
{
    return heard.first.c_str();
}

const char *tc_accelerator(int *count)
{
    tc_hear_warnings();
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
