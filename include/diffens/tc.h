/* tc.h: tensors. The C ABI over libtorch: scopes that own tensors, one sticky error, and
 * the operations that the networks are composed of. Knows no model, no file, no option.
 *
 * Ownership: every operation returns a tensor owned by the scope it was given. Nobody
 * frees tensors; scopes do. A block opens a scope, works in it and ends with
 * `return tc_pop(s, out)`, which moves `out` to the parent and frees the rest.
 *
 * Errors: after the first failure every operation does nothing and returns NULL, and a
 * NULL operand is never looked at. Check tc_ok() in the condition of step loops, and
 * tc_check() before values leave the tensor world and at the end of a stage. Nowhere
 * else.
 *
 * Dimension letters, here and in nn.h and nets.h:
 *   B batch   N cases   M models   C channels   H W image   h w latent
 *   T tokens  D width   K codebook entries
 * A shape is written [B,C,H,W]; "->" separates shapes in from the shape out.
 *
 * All functions with the same root must be called from one thread. */
#ifndef DIFFENS_TC_H
#define DIFFENS_TC_H

#include "diffens/error.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tc_tensor tc_tensor;
typedef struct tc_scope tc_scope;
typedef struct tc_rng tc_rng;

enum tc_dtype { TC_F32, TC_F16, TC_BF16, TC_F64, TC_I64, TC_I32, TC_U8 };

#define TC_MAX_RANK 8

struct tc_shape {
    int rank;
    int64_t dim[TC_MAX_RANK];
};

/* SHAPE(2, -1, 64): a struct tc_shape by value. */
#define SHAPE(...)                                                                       \
    ((struct tc_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),        \
                       {__VA_ARGS__}})

/* The root */

struct tc_settings {
    const char *device; /* "auto", or any device string that libtorch knows; "meta" runs
                           on shapes alone, without numbers */
    /* Of the whole process; a root on "meta" leaves both as they are. */
    int threads;        /* CPU threads; 0 leaves libtorch's choice */
    bool deterministic; /* deterministic algorithms only, no TF32 */
};

/* Opens a root scope on a device. NULL with ERR_DEVICE when there is no such device. */
tc_scope *tc_open(const struct tc_settings *settings, struct err *e);

/* Frees the root and everything below it. Accepts NULL. */
void tc_close(tc_scope *root);

/* The device the root works on, as libtorch names it ("cpu", "cuda:0"). */
const char *tc_device(const tc_scope *s);
bool tc_is_cpu(const tc_scope *s);
bool tc_is_meta(const tc_scope *s);
int tc_threads(void);

/* The version of the libtorch that is linked, for example "2.13.0". */
const char *tc_version(void);

/* Bytes on the device of the root; -1 where libtorch cannot tell. On the CPU `live` is
 * -1 and `free` and `total` are what this process may take (base/host_memory.h). */
struct tc_memory {
    int64_t live;
    int64_t peak;
    int64_t free;
    int64_t total;
};
struct tc_memory tc_memory_stats(const tc_scope *s);

/* Gives cached memory back to the device and to the system. Does nothing after the device
 * broke (ERR_DEVICE). */
void tc_empty_cache(tc_scope *s);

/* While on, tc_attention() works on some queries of one head of one picture at a time:
 * less memory, more time, the same numbers but for rounding. For the whole root; off at
 * first. */
void tc_slice_attention(tc_scope *s, bool on);

/* Tensors now alive in this process, over all roots. */
int64_t tc_live_tensors(void);

/* Scopes and the sticky error */

/* Opens a scope inside `up`. Never NULL: when memory is out, the sticky error is set and
 * a scope that only refuses is returned. */
tc_scope *tc_push(tc_scope *up);

/* Closes `s`, frees its tensors but `out`, which moves to the parent scope and is
 * returned. `out` may be NULL, and may be a tensor that some outer scope owns already. */
tc_tensor *tc_pop(tc_scope *s, tc_tensor *out);

/* Loop-carried tensors: frees `old` (owned by `s`, or NULL) and returns `next`. */
tc_tensor *tc_replace(tc_scope *s, tc_tensor *old, tc_tensor *next);

/* Operations in `s` and in the scopes that are opened below it from now on ask `go_on`
 * before they begin, and fail with what it sets when it returns false. On the CPU
 * gradients ask it, too, before that of each convolution and dense layer whose weights
 * are packed. It is asked often; NULL: no longer. */
void tc_interruptible(tc_scope *s, bool (*go_on)(struct err *e));

/* Says what is going on in `s`, for the sticky error's text: "poster: unet, step 12". */
void tc_context(tc_scope *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* False once anything failed under this root. */
bool tc_ok(const tc_scope *s);

/* Records a failure of the caller's own, in the context of `s`, as the sticky error. */
void tc_fail(tc_scope *s, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies the sticky error into `e`; true when there is none. */
bool tc_check(const tc_scope *s, struct err *e);

/* Forgets the sticky error, so that a caller can try again in another way. */
void tc_recover(tc_scope *s);

/* Sizes: 1 after a failure, never 0 */

int64_t tc_size(const tc_tensor *x, int dim); /* negative dims count from the end */
int tc_rank(const tc_tensor *x);
int64_t tc_numel(const tc_tensor *x);
enum tc_dtype tc_dtype_of(const tc_tensor *x);
size_t tc_dtype_size(enum tc_dtype dtype);

/* Host to device and back */

/* Copies host numbers, row-major, of type `dtype`, to the device, which need not have
 * arrived when this returns: what uses them waits. */
tc_tensor *tc_from_host(tc_scope *s, enum tc_dtype dtype, struct tc_shape shape,
                        const void *data);

/* Where a tensor's numbers come from. `read` delivers them as `stored`, row-major, `rows`
 * of the first dimension at a time (1 is all of a tensor without one), from the first to
 * the last, on any thread, and returns false after setting `e`. */
struct tc_source {
    enum tc_dtype stored, dtype;
    struct tc_shape shape;
    bool (*read)(void *user, int64_t rows, void *bytes, struct err *e);
    void *user;
    tc_tensor *tensor; /* what it became */
};

/* Makes tensors on the device from sources, which tc_threads() threads read side by side:
 * weights, that is. Each number is read once, converted to `dtype`; what has four
 * dimensions is laid out channels-last, which convolutions take without re-ordering. A
 * failed `read` is the sticky error. On the "meta" device nothing is read. */
bool tc_load(tc_scope *s, int count, struct tc_source *sources);

/* Copies x, cast to `dtype`, row-major, into `out` of `bytes` bytes. Waits for the
 * device. False, with `out` untouched, after a failure. */
bool tc_to_host(tc_scope *s, const tc_tensor *x, enum tc_dtype dtype, void *out,
                size_t bytes);

/* True when every element is finite. Waits for the device. */
bool tc_all_finite(tc_scope *s, const tc_tensor *x);

/* Making tensors */

tc_tensor *tc_zeros(tc_scope *s, enum tc_dtype dtype, struct tc_shape shape);
/* Every element `value`; unlike tc_from_host() nothing is copied from the host. */
tc_tensor *tc_full(tc_scope *s, enum tc_dtype dtype, struct tc_shape shape, double value);
tc_tensor *tc_arange(tc_scope *s, int64_t count); /* f32 [count]: 0, 1, 2, ... */

/* A generator on the CPU, seeded as torch.Generator("cpu").manual_seed(seed); freed with
 * its scope. */
tc_rng *tc_rng_new(tc_scope *s, uint64_t seed);

/* N(0,1) in f32 from the generator, made on the CPU and moved to the device: the numbers
 * of torch.randn(shape, generator=g), whatever the device. */
tc_tensor *tc_randn(tc_scope *s, tc_rng *rng, struct tc_shape shape);

/* Conversion and shape */

tc_tensor *tc_cast(tc_scope *s, tc_tensor *x, enum tc_dtype dtype);
tc_tensor *tc_contiguous(tc_scope *s, tc_tensor *x);
tc_tensor *tc_channels_last(tc_scope *s, tc_tensor *x); /* [B,C,H,W], strides of NHWC */
tc_tensor *tc_reshape(tc_scope *s, tc_tensor *x, struct tc_shape shape); /* one -1 */
tc_tensor *tc_permute(tc_scope *s, tc_tensor *x, struct tc_shape order);
tc_tensor *tc_expand(tc_scope *s, tc_tensor *x, struct tc_shape shape);
tc_tensor *tc_slice(tc_scope *s, tc_tensor *x, int dim, int64_t start, int64_t end);
tc_tensor *tc_cat(tc_scope *s, int count, tc_tensor *const *x, int dim);
tc_tensor *tc_pad(tc_scope *s, tc_tensor *x, int left, int right, int top, int bottom);

/* Arithmetic (operands broadcast) */

tc_tensor *tc_add(tc_scope *s, tc_tensor *a, tc_tensor *b);
tc_tensor *tc_sub(tc_scope *s, tc_tensor *a, tc_tensor *b);
tc_tensor *tc_mul(tc_scope *s, tc_tensor *a, tc_tensor *b);
tc_tensor *tc_div(tc_scope *s, tc_tensor *a, tc_tensor *b);
tc_tensor *tc_scale(tc_scope *s, tc_tensor *x, double factor);
tc_tensor *tc_add_scalar(tc_scope *s, tc_tensor *x, double addend);
/* sum_i c[i] * x[i]; terms with c[i] = 0 are left out, so that they cannot disturb the
 * others by rounding, and c[i] = 1 adds x[i] itself. */
tc_tensor *tc_combine(tc_scope *s, int count, const double *c, tc_tensor *const *x);
tc_tensor *tc_clamp(tc_scope *s, tc_tensor *x, double low, double high);
tc_tensor *tc_round(tc_scope *s, tc_tensor *x);
tc_tensor *tc_exp(tc_scope *s, tc_tensor *x);
tc_tensor *tc_sin(tc_scope *s, tc_tensor *x);
tc_tensor *tc_cos(tc_scope *s, tc_tensor *x);
tc_tensor *tc_silu(tc_scope *s, tc_tensor *x);
tc_tensor *tc_gelu(tc_scope *s, tc_tensor *x);            /* exact, by erf */
tc_tensor *tc_quick_gelu(tc_scope *s, tc_tensor *x);      /* x * sigmoid(1.702 x) */
tc_tensor *tc_sum(tc_scope *s, tc_tensor *x, int dim);    /* drops the dimension */
tc_tensor *tc_argmin(tc_scope *s, tc_tensor *x, int dim); /* i64, drops the dimension */
tc_tensor *tc_matmul(tc_scope *s, tc_tensor *a, tc_tensor *b);
/* The same without TF32, whatever the root's settings: where nearly equal results must be
 * told apart. */
tc_tensor *tc_matmul_precise(tc_scope *s, tc_tensor *a, tc_tensor *b);

/* Layers: fused kernels; NULL bias where there is none */

/* [...,Din], [Dout,Din], [Dout] -> [...,Dout] */
tc_tensor *tc_linear(tc_scope *s, tc_tensor *x, tc_tensor *weight, tc_tensor *bias);
/* The weight in the form in which tc_linear() is fastest for pictures of as many tokens
 * as x [...,T,Din] has: for that and tc_linear_geglu() alone, in place of the weight,
 * whose memory it takes. Where the plain form is best, as on every accelerator, it is
 * `weight` itself. */
tc_tensor *tc_linear_pack(tc_scope *s, tc_tensor *weight, tc_tensor *x);
/* [B,Cin,H,W], [Cout,Cin,k,k], [Cout] -> [B,Cout,H',W'] */
tc_tensor *tc_conv2d(tc_scope *s, tc_tensor *x, tc_tensor *weight, tc_tensor *bias,
                     int stride, int padding);
/* The weight in the form in which tc_conv2d() is fastest with this stride and padding on
 * pictures of x's size: for tc_conv2d() alone, in place of the weight, whose memory it
 * may take, with a bias. Where the plain form is best, as on every accelerator, it is
 * `weight` itself. */
tc_tensor *tc_conv2d_pack(tc_scope *s, tc_tensor *weight, tc_tensor *x, int stride,
                          int padding);
/* [B,C,...], [C], [C] -> [B,C,...] */
tc_tensor *tc_group_norm(tc_scope *s, tc_tensor *x, int groups, tc_tensor *weight,
                         tc_tensor *bias, double eps);
/* tc_silu() of tc_group_norm(), in one go. */
tc_tensor *tc_group_norm_silu(tc_scope *s, tc_tensor *x, int groups, tc_tensor *weight,
                              tc_tensor *bias, double eps);
/* The first half of tc_linear()'s result times tc_gelu() of the second (Shazeer 2020,
 * "GLU variants improve transformer"). [...,Din], [2*Dout,Din], [2*Dout] -> [...,Dout] */
tc_tensor *tc_linear_geglu(tc_scope *s, tc_tensor *x, tc_tensor *weight, tc_tensor *bias);
/* [...,D], [D], [D] -> [...,D] */
tc_tensor *tc_layer_norm(tc_scope *s, tc_tensor *x, tc_tensor *weight, tc_tensor *bias,
                         double eps);
/* ids [...] i64, table [K,D] -> [...,D] */
tc_tensor *tc_embedding(tc_scope *s, tc_tensor *ids, tc_tensor *table);
/* softmax(q k^T / sqrt(D)) v over [B,heads,T,D]; causal: token t sees tokens <= t only */
tc_tensor *tc_attention(tc_scope *s, tc_tensor *q, tc_tensor *k, tc_tensor *v,
                        bool causal);
/* [B,C,H,W] -> [B,C,height,width]: nearest neighbour */
tc_tensor *tc_resize_nearest(tc_scope *s, tc_tensor *x, int64_t height, int64_t width);
/* [B,C,H,W] -> [B,C,height,width]: bicubic, antialiased, as
 * torch.nn.functional.interpolate(mode="bicubic", antialias=True) */
tc_tensor *tc_resize_bicubic(tc_scope *s, tc_tensor *x, int64_t height, int64_t width);

/* Gradients: recorded in scopes from tc_push_grad() and in their children, for what is
 * computed from a leaf. Functional: weights never require gradients, and nothing
 * accumulates. Values leave such a scope by tc_detach(), or keep what they were computed
 * from alive. */

/* tc_push() of a scope whose operations, and those of its children, are recorded. */
tc_scope *tc_push_grad(tc_scope *up);

/* A copy of x with respect to which gradients are taken. */
tc_tensor *tc_leaf(tc_scope *s, tc_tensor *x);

/* The numbers of x, without what they were computed from. Shares memory with x. */
tc_tensor *tc_detach(tc_scope *s, tc_tensor *x);

/* d(sum of `upstream` * y) / d(leaf), of the shape of `leaf`; a NULL `upstream` stands
 * for 1, and y then has one element. What was recorded between them is freed: once only.
 */
tc_tensor *tc_gradient(tc_scope *s, tc_tensor *y, tc_tensor *upstream, tc_tensor *leaf);

/* Forward `value`, backward the identity to z; both of one shape. */
tc_tensor *tc_straight_through(tc_scope *s, tc_tensor *value, tc_tensor *z);

/* Forward tc_clamp(). Backward: the gradient as it is inside [low,high]; outside, only
 * where a step against it leads back in, and 0 elsewhere. */
tc_tensor *tc_clamp_inward(tc_scope *s, tc_tensor *x, double low, double high);

struct tc_adam {
    double rate, beta1, beta2, eps;
    int64_t step; /* the number of this step, from 1 */
};

/* One step of Adam (Kingma and Ba 2015, Algorithm 1), in place on x and on the moments m
 * and v, all of the shape of `gradient`. libtorch's fused kernel. */
bool tc_adam_step(tc_scope *s, const struct tc_adam *adam, tc_tensor *x,
                  tc_tensor *gradient, tc_tensor *m, tc_tensor *v);

/* What losses are made of */

tc_tensor *tc_relu(tc_scope *s, tc_tensor *x);
tc_tensor *tc_asin(tc_scope *s, tc_tensor *x);
tc_tensor *tc_mean(tc_scope *s, tc_tensor *x, int dim); /* drops the dimension */
/* Euclidean norm; keeps the dimension, as 1. Its gradient at 0 is 0. */
tc_tensor *tc_norm(tc_scope *s, tc_tensor *x, int dim);
tc_tensor *tc_amin(tc_scope *s, tc_tensor *x,
                   int dim); /* smallest; drops the dimension */
tc_tensor *tc_amax(tc_scope *s, tc_tensor *x, int dim); /* largest; drops the dimension */
/* Each element clamped between those of `low` and `high`, which broadcast. */
tc_tensor *tc_clamp_between(tc_scope *s, tc_tensor *x, tc_tensor *low, tc_tensor *high);
/* Non-overlapping windows: [B,C,H,W] -> [B,C,H/side,W/side] */
tc_tensor *tc_max_pool2d(tc_scope *s, tc_tensor *x, int side);
/* Square windows of one picture: [1,C,H,W] -> [count,C,side,side] */
tc_tensor *tc_windows(tc_scope *s, tc_tensor *x, int count, const int64_t *top,
                      const int64_t *left, int64_t side);

/* Looks pictures up at places, bilinearly, their edges going on outside. x [B,C,H,W],
 * places [B,H',W',2]: (x,y), where -1 and 1 are the outer edges -> [B,C,H',W'] */
tc_tensor *tc_grid_sample(tc_scope *s, tc_tensor *x, tc_tensor *places);

/* Looking inside */

/* Called for every tensor that a network reports under its module's name; parity tests
 * use it to name the first block that differs. */
typedef void tc_tap_fn(tc_scope *s, const char *name, tc_tensor *x, void *user);
void tc_set_tap(tc_scope *root, tc_tap_fn *tap, void *user);
bool tc_has_tap(const tc_scope *s);
void tc_tap(tc_scope *s, const char *name, tc_tensor *x);

/* What operations cost, from their shapes. */
struct tc_work {
    double convolutions; /* floating-point operations of convolutions, */
    double products; /*   of matrix products and of attention: 2 a product of numbers */
    double results;  /* bytes that these made, */
    double bytes;    /*   and all other operations */
    double calls;    /* operations */
    int64_t live, peak; /* bytes of tensors made since, now and at most */
};

/* From now on the costs of operations are added to *work, on "meta" as elsewhere; NULL:
 * no more of that. For the whole root. */
void tc_count(tc_scope *s, struct tc_work *work);

/* Fault injection: the n-th operation from now fails with ERR_BUG, "injected"; 0 turns it
 * off. tc_operations() counts operations since the root was opened. */
void tc_inject_failure(tc_scope *root, int64_t n);
int64_t tc_operations(const tc_scope *root);

#ifdef __cplusplus
}
#endif

#endif
