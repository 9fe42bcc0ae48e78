/* test_gradients.c: what tc.h promises of gradients, Adam and the operations of losses,
 * on numbers small enough to check by hand. Whole losses: tests/grad. */
#include "small.h"

static void gradients_are_taken_in_gradient_scopes_only(void)
{
    tc_tensor *x = ROW(1, 2, 3);
    tc_scope *s = tc_push_grad(root);
    tc_tensor *leaf = tc_leaf(s, x);
    tc_scope *child = tc_push(s);
    tc_tensor *y = tc_pop(child, tc_sum(child, tc_mul(child, leaf, leaf), 0));
    SAME(tc_gradient(s, y, NULL, leaf), 2, 4, 6);
    y = tc_scale(s, leaf, 3);
    SAME(tc_gradient(s, y, ROW(1, 0, -1), leaf), 3, 0, -3);
    CHECK(tc_gradient(s, tc_detach(s, leaf), NULL, leaf) == NULL);
    CHECK(!tc_ok(root));
    tc_recover(root);

    tc_scope *plain = tc_push(root);
    CHECK(tc_gradient(plain, tc_sum(plain, leaf, 0), NULL, leaf) == NULL);
    CHECK(!tc_ok(root));
    tc_recover(root);
    tc_pop(plain, NULL);
    tc_pop(s, NULL);
}

static void nothing_accumulates(void)
{
    tc_scope *s = tc_push_grad(root);
    tc_tensor *leaf = tc_leaf(s, ROW(1, 2));
    for (int i = 0; i < 3; i++)
        SAME(tc_gradient(s, tc_sum(s, tc_mul(s, leaf, leaf), 0), NULL, leaf), 2, 4);
    tc_pop(s, NULL);
}

static void a_missing_operand_is_the_sticky_error(void)
{
    tc_scope *s = tc_push_grad(root);
    CHECK(tc_gradient(s, NULL, NULL, tc_leaf(s, ROW(1))) == NULL);
    CHECK(!tc_adam_step(s, &(struct tc_adam){.step = 1}, NULL, NULL, NULL, NULL));
    CHECK(!tc_ok(root));
    tc_recover(root);
    tc_pop(s, NULL);
}

static void straight_through_is_the_value_and_the_identity(void)
{
    tc_scope *s = tc_push_grad(root);
    tc_tensor *z = tc_leaf(s, ROW(0.1f, 1e30f, -7));
    tc_tensor *y = tc_straight_through(s, ROW(0.3f, 1, 1e-30f), z);
    float out[3];
    CHECK(tc_to_host(s, y, TC_F32, out, sizeof out));
    CHECK(out[0] == 0.3f && out[1] == 1 && out[2] == 1e-30f);
    SAME(tc_gradient(s, y, ROW(1, 2, 3), z), 1, 2, 3);
    tc_pop(s, NULL);
}

static void clamp_keeps_gradients_that_lead_back_in(void)
{
    tc_scope *s = tc_push_grad(root);
    tc_tensor *x = tc_leaf(s, ROW(-1, -1, 0.5f, 0.5f, 2, 2, 1));
    tc_tensor *y = tc_clamp_inward(s, x, 0, 1);
    SAME(y, 0, 0, 0.5f, 0.5f, 1, 1, 1);
    /* a step goes against the gradient: below 0 only a negative one leads back in */
    SAME(tc_gradient(s, y, ROW(3, -3, 3, -3, 3, -3, -3), x), 0, -3, 3, -3, 3, 0, -3);
    tc_pop(s, NULL);
}

/* Two steps against the algorithm written out. */
static void adam_is_the_published_algorithm(void)
{
    tc_tensor *x = ROW(1, -2), *m = ROW(0, 0), *v = ROW(0, 0);
    double x_ref[2] = {1, -2}, m_ref[2] = {0}, v_ref[2] = {0};
    struct tc_adam adam = {0.35, 0.9, 0.999, 1e-8, 0};
    for (adam.step = 1; adam.step <= 2; adam.step++) {
        double g[2] = {0.5 * (double)adam.step, -3};
        tc_tensor *gradient = ROW((float)g[0], (float)g[1]);
        CHECK(tc_adam_step(root, &adam, x, gradient, m, v));
        for (int i = 0; i < 2; i++) {
            m_ref[i] = 0.9 * m_ref[i] + 0.1 * g[i];
            v_ref[i] = 0.999 * v_ref[i] + 0.001 * g[i] * g[i];
            double m_hat = m_ref[i] / (1 - pow(0.9, (double)adam.step));
            double v_hat = v_ref[i] / (1 - pow(0.999, (double)adam.step));
            x_ref[i] -= 0.35 * m_hat / (sqrt(v_hat) + 1e-8);
        }
    }
    SAME(x, (float)x_ref[0], (float)x_ref[1]);
    SAME(m, (float)m_ref[0], (float)m_ref[1]);
    SAME(v, (float)v_ref[0], (float)v_ref[1]);
}

static void parts_of_losses(void)
{
    tc_tensor *x = tc_reshape(root, ROW(3, 4, -1, 0), SHAPE(2, 2));
    SAME(tc_norm(root, x, 1), 5, 1);
    CHECK_INT(tc_rank(tc_norm(root, x, 1)), 2);
    SAME(tc_mean(root, x, 0), 1, 2);
    SAME(tc_amin(root, x, 0), -1, 0);
    SAME(tc_amax(root, x, 1), 4, 0);
    SAME(tc_relu(root, x), 3, 4, 0, 0);
    SAME(tc_asin(root, ROW(0, 1)), 0, 1.5707963f);
    SAME(tc_clamp_between(root, x, ROW(0, 0), ROW(2, 9)), 2, 4, 0, 0);

    tc_scope *s = tc_push_grad(root);
    tc_tensor *zero = tc_leaf(s, ROW(0, 0));
    SAME(tc_gradient(s, tc_norm(s, zero, 0), NULL, zero), 0, 0);
    tc_pop(s, NULL);
}

static void windows_and_pools(void)
{
    tc_tensor *x = tc_reshape(root, tc_arange(root, 16), SHAPE(1, 1, 4, 4));
    SAME(tc_max_pool2d(root, x, 2), 5, 7, 13, 15);
    tc_tensor *w = tc_windows(root, x, 2, (int64_t[]){0, 2}, (int64_t[]){1, 2}, 2);
    CHECK_INT(tc_size(w, 0), 2);
    SAME(w, 1, 2, 5, 6, 10, 11, 14, 15);
    CHECK(!tc_windows(root, x, 1, (int64_t[]){3}, (int64_t[]){0}, 2));
    tc_recover(root);
}

int main(void)
{
    struct err e = {0};
    root = tc_open(&(struct tc_settings){.device = "cpu"}, &e);
    CHECK(root != NULL);
    RUN(gradients_are_taken_in_gradient_scopes_only);
    RUN(nothing_accumulates);
    RUN(a_missing_operand_is_the_sticky_error);
    RUN(straight_through_is_the_value_and_the_identity);
    RUN(clamp_keeps_gradients_that_lead_back_in);
    RUN(adam_is_the_published_algorithm);
    RUN(parts_of_losses);
    RUN(windows_and_pools);
    tc_close(root);
    CHECK_INT(tc_live_tensors(), 0);
    return CHECK_EXIT();
}
