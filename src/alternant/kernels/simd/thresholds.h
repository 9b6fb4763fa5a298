/* Thresholds shared by all backends: documented in ../_thresholds.py, and a test checks that both files agree. */
#ifndef ALTERNANT_THRESHOLDS_H
#define ALTERNANT_THRESHOLDS_H

#define ALS_SINGULAR_F32 1e-13
#define ALS_SINGULAR_F64 1e-14
#define ALS_UNDERFLOW_F32 1e-60
#define ALS_UNDERFLOW_F64 1e-300
#define ALS_ROUNDING_F32 1e-6
#define ALS_ROUNDING_F64 1e-13
#define ALS_SMALLEST_DUAL_WEIGHT 1e-20

#define NNLS_SINGULAR 1e-14
#define NNLS_ROUNDING 1e-15
#define NNLS_SWEEPS 8

#define PAIRWISE_CANDIDATES 100

#endif
