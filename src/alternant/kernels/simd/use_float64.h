/* Set the real type of the templated headers ("_real.h") to double. */
#define REAL double
#define REAL_BYTES 8
#define REAL_MAX DBL_MAX
#define REAL_MIN DBL_MIN
#define REAL_EPSILON DBL_EPSILON
#define SQRT sqrt
#define EXP exp
#define FABS fabs
#define REAL_IS_FLOAT64
#define NAME(name) ALTERNANT_JOIN(name, f64)
#include "use_real.h"
