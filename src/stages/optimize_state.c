/* optimize_state.c: saves the state of an optimisation and goes on from it. Leaves the
 * format to io/safetensors.h, and when to save to the caller. State files are untrusted:
 * another run, or a fault of the disk, may have written them. */
#include "stages/optimize_internal.h"

#include "base/sha256.h"
#include "base/str.h"
#include "io/safetensors.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FORMAT_VERSION "1"
#define TENSORS 7

static const char *const tensor_names[TENSORS] = {"latent", "m",      "v",     "kept.latent",
                                                  "kept.m", "kept.v", "best"};

static tc_tensor **tensor_at(struct optimize *o, int i)
{
    tc_tensor **places[TENSORS] = {&o->now.z,  &o->now.m,  &o->now.v, &o->kept.z,
                                   &o->kept.m, &o->kept.v, &o->best};
    return places[i];
}

static size_t tensor_bytes(const struct optimize *o)
{
    return (size_t)tc_numel(o->now.z) * tc_dtype_size(o->dtype);
}

/* One line: what the epochs to come depend on besides the tensors. The windows of an
 * epoch are decided by the random seed and its number, so these two are the random state.
 */
static void counters_write(const struct optimize *o, char *out, size_t size)
{
    snprintf(out, size, "%lld %lld %lld %lld %d %d %a %llu", (long long)o->epoch,
             (long long)o->now.steps, (long long)o->kept.steps, (long long)o->skipped,
             o->skipped_in_a_row, o->restored, o->best_total,
             (unsigned long long)o->settings.random_seed);
}

static bool counters_read(struct optimize *o, const char *text)
{
    long long epoch, steps, kept, skipped;
    int in_a_row, restored;
    double best;
    unsigned long long seed;
    if (sscanf(text, "%lld %lld %lld %lld %d %d %la %llu", &epoch, &steps, &kept, &skipped,
               &in_a_row, &restored, &best, &seed) != 8 ||
        epoch < 0 || steps < 0 || kept < 0 || skipped < 0 || in_a_row < 0 || isnan(best) ||
        seed != o->settings.random_seed)
        return false;
    o->epoch = epoch;
    o->now.steps = steps;
    o->kept.steps = kept;
    o->skipped = skipped;
    o->skipped_in_a_row = in_a_row;
    o->restored = restored != 0;
    o->best_total = best;
    return true;
}

/* Of everything that the file says, so that a flipped bit cannot go unseen. */
static bool checksum(const unsigned char *bytes, size_t size, const char *counters,
                     const char *identity, char hex[65], struct err *e)
{
    struct sha256 *hash = sha256_new();
    bool ok = hash && sha256_add(hash, bytes, size) &&
              sha256_add(hash, counters, strlen(counters) + 1) &&
              sha256_add(hash, identity, strlen(identity) + 1) && sha256_end(hash, hex);
    return ok || err_set(e, ERR_MEMORY, "no host memory for a checksum");
}
