/* Set the real type of the templated headers ("_real.h") to float. */
#define REAL float
#define REAL_BYTES 4
#define REAL_MAX FLT_MAX
#define REAL_MIN FLT_MIN
#define REAL_EPSILON FLT_EPSILON
#define SQRT sqrtf
#define EXP expf
#define FABS fabsf
#define REAL_IS_FLOAT32
#define NAME(name) ALTERNANT_JOIN(name, f32)
#include "use_real.h"
