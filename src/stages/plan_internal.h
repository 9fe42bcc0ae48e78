/* plan_internal.h: what plan.c and the plan_*.c beside it share. */
#ifndef DIFFENS_PLAN_INTERNAL_H
#define DIFFENS_PLAN_INTERNAL_H

#include "stages/plan.h"

/* How much each parent counts: the numbers of a set, or their parts of its sum where the
 * options say so. ERR_USAGE for another number of them than there are parents. */
bool plan_shares(const struct plan *p, const struct option_weights *set, double *shares,
                 struct err *e);

/* blend: the mixtures that the options ask for. */
bool plan_mixtures(struct plan *p, struct err *e);

/* Opens and checks CLIP and the perceptual network, and resolves the settings of the
 * optimisation. */
bool plan_optimize(struct plan *p, struct err *e);

/* Plans the cells, files and networks of the record. */
bool plan_record(const struct plan *p, struct err *e);

/* Warns of weight files with tensors that nothing asks for, and of those that name
 * classes or functions beside their tensors; ERR_INPUT with --strict and
 * --reject-unknown-globals. */
bool plan_check_extras(const struct plan *p, struct err *e);

#endif
