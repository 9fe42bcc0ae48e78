/* test_scheduler.c: scheduler configs that are refused, by name, step counts that a
 * scheduler cannot do, and what a scheduler leaves behind. That the steps are right is
 * shown by tests/parity/test_schedulers.py. */
#include "check.h"
#include "diffusion/scheduler.h"
#include "unit/files.h"

#include <math.h>

#define PNDM "{\"_class_name\": \"PNDMScheduler\", "

static bool read_config(struct scheduler_config *c, const char *json, const char *name,
                        struct err *e)
{
    *e = (struct err){0};
    return scheduler_config_read(c, write_file("s.json", json, strlen(json)), name, e);
}

static void test_refused(void)
{
    static const struct {
        const char *json, *message;
    } rows[] = {
        {"[]", "expected an object"},
        {"{}", "_class_name"},
        {"{\"_class_name\": 1}", "_class_name"},
        {"{\"_class_name\": \"DDPMScheduler\"}",
         "found \"DDPMScheduler\", expected PNDMScheduler, DDIMScheduler, "},
        {"{\"_class_name\": \"a\\u001bb\"}", "found \"a\\x1Bb\""},
        {PNDM "\"prediction_type\": \"eps\"}",
         "$.prediction_type: found \"eps\", expected epsilon or v_prediction"},
        {PNDM "\"prediction_type\": \"sample\"}", "expected epsilon or v_prediction"},
        {PNDM "\"beta_schedule\": \"exp\"}",
         "$.beta_schedule: found \"exp\", expected linear, scaled_linear or squaredcos"},
        {PNDM "\"timestep_spacing\": \"even\"}",
         "expected leading, trailing or linspace"},
        {PNDM "\"timestep_spacing\": 1}", "$.timestep_spacing"},
        {PNDM "\"beta_start\": 0}",
         "$.beta_start: found 0, expected a number between 0 and 1"},
        {PNDM "\"beta_end\": 1}", "$.beta_end"},
        {PNDM "\"beta_end\": -0.1}", "$.beta_end"},
        {PNDM "\"beta_end\": 1e400}", "$.beta_end"},
        {PNDM "\"beta_end\": \"0.1\"}", "$.beta_end"},
        {PNDM "\"num_train_timesteps\": 0}", "$.num_train_timesteps"},
        {PNDM "\"num_train_timesteps\": 1}", "$.num_train_timesteps"},
        {PNDM "\"num_train_timesteps\": 1e9}", "$.num_train_timesteps"},
        {PNDM "\"num_train_timesteps\": 100001}", "$.num_train_timesteps"},
        {PNDM "\"trained_betas\": [0.1, 0.2]}", "$.trained_betas"},
        {PNDM "\"num_train_timesteps\": 2, \"trained_betas\": [0.1, 0]}",
         "$.trained_betas[1]: found 0"},
        {PNDM "\"num_train_timesteps\": 2, \"trained_betas\": [0.1, null]}",
         "$.trained_betas[1]"},
        {PNDM "\"steps_offset\": -1}", "$.steps_offset"},
        {PNDM "\"skip_prk_steps\": 1}", "$.skip_prk_steps"},
        {"{\"_class_name\": \"DDIMScheduler\", \"thresholding\": true}",
         "$.thresholding: found true, expected false"},
        {"{\"_class_name\": \"DDIMScheduler\", \"clip_sample_range\": -1}",
         "$.clip_sample_range"},
        {"{\"_class_name\": \"EulerDiscreteScheduler\", \"use_beta_sigmas\": true}",
         "$.use_beta_sigmas"},
        {"{\"_class_name\": \"EulerDiscreteScheduler\", \"interpolation_type\": \"log\"}",
         "$.interpolation_type: found \"log\", expected linear"},
        {"{\"_class_name\": \"EulerDiscreteScheduler\", \"sigma_max\": 80}",
         "$.sigma_max"},
        {"{\"_class_name\": \"EulerDiscreteScheduler\", \"final_sigmas_type\": \"one\"}",
         "$.final_sigmas_type: found \"one\", expected zero or sigma_min"},
        {"{\"_class_name\": \"EulerAncestralDiscreteScheduler\", "
         "\"prediction_type\": \"sample\"}",
         "$.prediction_type"},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\", "
         "\"algorithm_type\": \"sde-dpmsolver++\"}",
         "$.algorithm_type: found \"sde-dpmsolver++\", expected dpmsolver++"},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\", \"solver_order\": 4}",
         "$.solver_order"},
        {"{\"_class_name\": \"DPMSolverMultistepScheduler\", \"lambda_min_clipped\": "
         "-5.1}",
         "$.lambda_min_clipped"},
        {"{\"_class_name\": \"UniPCMultistepScheduler\", \"disable_corrector\": [0]}",
         "$.disable_corrector"},
        {"{\"_class_name\": \"UniPCMultistepScheduler\", \"predict_x0\": false}",
         "$.predict_x0"},
        {"{\"_class_name\": \"UniPCMultistepScheduler\", \"solver_type\": \"bh3\"}",
         "$.solver_type"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scheduler_config c;
        struct err e;
        CHECK(!read_config(&c, rows[i].json, NULL, &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, "s.json");
        CHECK_HAS(e.message, rows[i].message);
        scheduler_config_free(&c);
    }
}

static void test_names(void)
{
    struct scheduler_config c;
    struct err e;
    int count;
    const char *const *names = scheduler_names(&count);
    for (int i = 0; i < count; i++) {
        CHECK(read_config(&c, PNDM "\"steps_offset\": 1}", names[i], &e));
        CHECK_STR(e.message, "");
        scheduler_config_free(&c);
    }
    static const char *const unknown[] = {
        "",       "dpm",   "ddim-karras", "euler-a-karras", "pndm-karras",
        "euler-", "EULER", "-karras"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        CHECK(!read_config(&c, PNDM "\"steps_offset\": 1}", unknown[i], &e));
        CHECK_INT(e.code, ERR_USAGE);
        CHECK_HAS(e.message, "expected pndm, ddim, euler, euler-karras, euler-a, ");
    }
}

/* What belongs to another class does not stand in the way. */
static void test_settings_of_another_class(void)
{
    struct scheduler_config c;
    struct err e;
    CHECK(read_config(
        &c,
        "{\"_class_name\": \"DPMSolverMultistepScheduler\", "
        "\"algorithm_type\": \"sde-dpmsolver++\", \"solver_order\": 9, "
        "\"lambda_min_clipped\": -Infinity, \"name\": \"-Infinity \\\" -Infinity\"}",
        "euler", &e));
    CHECK_STR(e.message, "");
    scheduler_config_free(&c);
}

static void test_steps_refused(void)
{
    static const struct {
        const char *json, *name;
        int steps;
        const char *message;
    } rows[] = {
        {PNDM "\"skip_prk_steps\": true}", NULL, 0, "steps: found 0, expected 1..1000"},
        {PNDM "\"skip_prk_steps\": true}", NULL, -1, "steps: found -1"},
        {PNDM "\"skip_prk_steps\": true}", "euler", 1001,
         "steps: found 1001, expected 1..1000"},
        {PNDM "\"skip_prk_steps\": false}", NULL, 3,
         "steps: found 3, expected at least 4 without skip_prk_steps"},
        {PNDM "\"skip_prk_steps\": true}", NULL, 1000,
         "steps: found 1000, which need timestep 1000, expected at most 999 "
         "(steps_offset 1)"},
        {PNDM "\"steps_offset\": 1}", "ddim", 1000, "steps: found 1000"},
        {"{\"_class_name\": \"DDIMScheduler\", \"rescale_betas_zero_snr\": true, "
         "\"timestep_spacing\": \"trailing\"}",
         NULL, 10, "prediction_type: found epsilon, expected v_prediction or sample"},
    };
    struct err e = {0};
    tc_scope *root = tc_open(&(struct tc_settings){.device = "cpu"}, &e);
    int64_t alive = tc_live_tensors();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scheduler_config c;
        CHECK(read_config(&c, rows[i].json, rows[i].name, &e));
        CHECK(!scheduler_new(root, &c, rows[i].steps, &e));
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_HAS(e.message, rows[i].message);
        scheduler_config_free(&c);
    }
    CHECK_INT(tc_live_tensors(), alive);
    tc_close(root);
}

/* Every step count from 1 to `most`, every spacing: timesteps stay in range and descend.
 */
static void test_every_step_count(void)
{
    static const char *const spacings[] = {"leading", "trailing", "linspace"};
    enum { TRAIN = 120 };
    struct err e = {0};
    tc_scope *root = tc_open(&(struct tc_settings){.device = "cpu"}, &e);
    int count;
    const char *const *names = scheduler_names(&count);
    for (int i = 0; i < count * 3; i++) {
        char json[256];
        struct scheduler_config c;
        snprintf(json, sizeof json,
                 PNDM "\"num_train_timesteps\": %d, \"skip_prk_steps\": true, "
                      "\"timestep_spacing\": \"%s\"}",
                 TRAIN, spacings[i % 3]);
        CHECK(read_config(&c, json, names[i / 3], &e));
        for (int steps = 1; steps <= TRAIN; steps++) {
            struct scheduler *sch = scheduler_new(root, &c, steps, &e);
            CHECK(sch);
            for (int k = 0; sch && k < scheduler_evaluations(sch); k++) {
                double t = scheduler_timestep(sch, k);
                CHECK(t >= 0 && t <= TRAIN - 1);
                CHECK(k == 0 || t <= scheduler_timestep(sch, k - 1));
            }
            scheduler_free(sch);
        }
        scheduler_config_free(&c);
    }
    tc_close(root);
}

/* Each operation of a run fails once: no step hides it, nothing is left behind. */
static void test_failures_inside(void)
{
    struct err e = {0};
    tc_scope *root = tc_open(&(struct tc_settings){.device = "cpu"}, &e);
    int64_t alive = tc_live_tensors();
    int count;
    const char *const *names = scheduler_names(&count);
    for (int i = 0; i < count; i++) {
        bool failed = true;
        for (int n = 1; failed && n < 1000; n++) {
            struct scheduler_config c;
            CHECK(read_config(&c, PNDM "\"skip_prk_steps\": true}", names[i], &e));
            tc_inject_failure(root, n);
            tc_scope *s = tc_push(root);
            struct scheduler *sch = scheduler_new(s, &c, 5, &e);
            tc_rng *rng = tc_rng_new(s, 1);
            tc_tensor *x = tc_randn(s, rng, SHAPE(1, 2, 3, 4));
            for (int k = 0; sch && k < scheduler_evaluations(sch); k++) {
                tc_tensor *in = scheduler_scale_input(s, sch, x, k);
                x = scheduler_step(s, sch, k, in, x, &rng);
            }
            failed = !tc_ok(root);
            tc_inject_failure(root, 0);
            CHECK(failed ? !x : x && tc_all_finite(s, x));
            scheduler_free(sch);
            tc_pop(s, NULL);
            tc_recover(root);
            scheduler_config_free(&c);
            CHECK_INT(tc_live_tensors(), alive);
        }
        CHECK(!failed);
    }
    tc_close(root);
}

int main(void)
{
    RUN(test_refused);
    RUN(test_names);
    RUN(test_settings_of_another_class);
    RUN(test_steps_refused);
    RUN(test_every_step_count);
    RUN(test_failures_inside);
    remove_dir();
    return CHECK_EXIT();
}
