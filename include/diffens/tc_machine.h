/* tc_machine.h: what libtorch can use on this machine, for reports. Leaves computing to
 * tc.h. */
#ifndef DIFFENS_TC_MACHINE_H
#define DIFFENS_TC_MACHINE_H

#ifdef __cplusplus
extern "C" {
#endif

/* The kind of accelerator that libtorch was built for ("cuda"), or NULL; *count is the
 * number of such devices that are there. */
const char *tc_accelerator(int *count);

/* What libtorch first warned of on this thread since it looked for accelerators, such as a
 * driver that is too old; "" if nothing. Its warnings are printed nowhere. */
const char *tc_warning(void);

/* The processor's instructions that libtorch's kernels use: "AVX512". */
const char *tc_cpu_capability(void);

#ifdef __cplusplus
}
#endif

#endif
