"""What _topk.h offers, for both real types."""

from cython cimport floating
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, uint8_t, uint32_t

cdef extern from "_topk.h" nogil:
    const bint TOPK_LOOKS    # whether this SIMD level has the instructions

    ctypedef struct rounded_t:
        double step
        double norm
        double error

    ptrdiff_t packed_item_bytes(ptrdiff_t f)
    int32_t least_score(double worst, double slack, const rounded_t *q, const rounded_t *y)
    ptrdiff_t look(ptrdiff_t f, ptrdiff_t width, const uint8_t **q, const int32_t *least, const uint32_t *query,
                   const char *tile, ptrdiff_t hits, uint32_t *hit)
    double norm_f32(ptrdiff_t, const float *)
    double norm_f64(ptrdiff_t, const double *)
    bint stays_finite_f32(double, double)
    bint stays_finite_f64(double, double)
    double slack_f32(ptrdiff_t, double, double)
    double slack_f64(ptrdiff_t, double, double)
    void pack_query_f32(ptrdiff_t, const float *, uint8_t *, rounded_t *)
    void pack_query_f64(ptrdiff_t, const double *, uint8_t *, rounded_t *)
    void pack_items_f32(ptrdiff_t, ptrdiff_t, const float *, const int32_t *, char *, rounded_t *)
    void pack_items_f64(ptrdiff_t, ptrdiff_t, const double *, const int32_t *, char *, rounded_t *)
    void exact_scores_f32(ptrdiff_t, const float **, const float **, float *)
    void exact_scores_f64(ptrdiff_t, const double **, const double **, double *)


cdef inline double slack(ptrdiff_t f, double q, double y, floating _) noexcept nogil:
    """What rounding may do to the score of rows with these norms."""
    return slack_f32(f, q, y) if floating is float else slack_f64(f, q, y)


cdef inline void exact_scores(ptrdiff_t f, const floating **q, const floating **y, floating *out) noexcept nogil:
    if floating is float:
        exact_scores_f32(f, q, y, out)
    else:
        exact_scores_f64(f, q, y, out)


cdef inline double norm(ptrdiff_t f, const floating *row) noexcept nogil:
    if floating is float:
        return norm_f32(f, row)
    else:
        return norm_f64(f, row)


cdef inline bint stays_finite(double q, double y, const floating *_) noexcept nogil:
    if floating is float:
        return stays_finite_f32(q, y)
    else:
        return stays_finite_f64(q, y)


cdef inline void pack_query(ptrdiff_t f, const floating *query, uint8_t *bytes, rounded_t *rounded) noexcept nogil:
    if floating is float:
        pack_query_f32(f, query, bytes, rounded)
    else:
        pack_query_f64(f, query, bytes, rounded)


cdef inline void pack_items(ptrdiff_t width, ptrdiff_t f, const floating *items, const int32_t *ids, char *tile,
                            rounded_t *rounded) noexcept nogil:
    if floating is float:
        pack_items_f32(width, f, items, ids, tile, rounded)
    else:
        pack_items_f64(width, f, items, ids, tile, rounded)
