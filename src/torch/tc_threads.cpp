// tc_threads.cpp: the threads that compute on the CPU, and how they wait for each other.
// Leaves what they compute to libtorch and to the kernels of this folder.
#include "tc_internal.hpp"

#include <ATen/Parallel.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <system_error>
#include <thread>

#include <omp.h>
#include <unistd.h>

#if AT_PARALLEL_OPENMP && !defined(_OPENMP)
#error "without -fopenmp at::parallel_for() computes on one thread"
#endif

static void keep_idle_team(std::promise<void> ready)
{
#pragma omp parallel num_threads(omp_get_num_procs() + 1)
    std::atomic_thread_fence(std::memory_order_seq_cst); // or compilers leave it out
    ready.set_value();
    for (;;)
        pause();
}

// libgomp's threads wait for each other by spinning for milliseconds. On a machine with
// other work that keeps the processor from the very thread they wait for: a picture takes
// ten times as long. Where there are more OpenMP threads than processors they soon sleep
// instead (GOMP_SPINCOUNT in its manual), and it counts idle ones of another team too.
static void wait_asleep(void)
{
    static bool asleep;
    if (asleep || getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY"))
        return;
    asleep = true;
    std::promise<void> ready;
    std::future<void> is_ready = ready.get_future();
    try {
        std::thread(keep_idle_team, std::move(ready)).detach();
    } catch (const std::system_error &) {
        return; // no thread to be had: they spin
    }
    is_ready.wait();
}

void tc_threads_set(int threads)
{
    if (threads > 0)
        at::set_num_threads(threads);
    if (at::get_num_threads() > 1)
        wait_asleep();
}

int tc_threads(void)
{
    return at::get_num_threads();
}
