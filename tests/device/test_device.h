/* test_device.h: what test programs ask of the test device while they run. Leaves its
 * environment variables to test_device.cpp. */
#ifndef DIFFENS_TESTS_TEST_DEVICE_H
#define DIFFENS_TESTS_TEST_DEVICE_H

#ifdef __cplusplus
extern "C" {
#endif

/* The k-th allocation from now on fails; 0: none. Counts from now on. */
void test_device_fail_at(long k);
long test_device_allocations(void);
long test_device_live_bytes(void);

#ifdef __cplusplus
}
#endif

#endif
