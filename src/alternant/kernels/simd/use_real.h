/* Macros derived from the real type: included by use_float32.h and use_float64.h. */
#define LANES ((ptrdiff_t)(ALTERNANT_ALIGNMENT / sizeof(REAL))) /* padded row lengths are multiples of this */
#ifdef ALTERNANT_VECTORS
#  define VL ((ptrdiff_t)(ALTERNANT_VECTOR_BYTES / sizeof(REAL)))
#else
#  define VL ((ptrdiff_t)1)
#endif
#define VECTOR NAME(vector)
#define AT(pointer) (*(VECTOR *)(pointer))
#define CAT(pointer) (*(const VECTOR *)(pointer))
#define LOOSE(pointer) (*(const NAME(loose) *)(pointer)) /* of any alignment */
#define LOOSE_AT(pointer) (*(NAME(loose) *)(pointer))
