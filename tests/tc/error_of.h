/* error_of.h: how far tensors are apart. */
#ifndef DIFFENS_TESTS_ERROR_OF_H
#define DIFFENS_TESTS_ERROR_OF_H

#include "diffens/tc.h"

#include <math.h>
#include <stdlib.h>

/* The largest difference, as a part of the largest element of b, both on the host. */
static inline double error_of(tc_scope *s, tc_tensor *a, tc_tensor *b)
{
    size_t count = (size_t)tc_numel(b), size = count * sizeof(double);
    double *one = malloc(size), *other = malloc(size), most = 0, error = 0;
    bool ok = tc_numel(a) == tc_numel(b) && one && other &&
              tc_to_host(s, a, TC_F64, one, size) &&
              tc_to_host(s, b, TC_F64, other, size);
    for (size_t i = 0; ok && i < count; i++) {
        error = fmax(error, fabs(one[i] - other[i]));
        most = fmax(most, fabs(other[i]));
    }
    free(one);
    free(other);
    return ok ? error / most : INFINITY;
}

#endif
