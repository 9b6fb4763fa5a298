/* How many items score higher than given targets: tiles of scores in cache, a histogram over the targets' scores.
 *
 *     score(u, i) = sum_k queries[u, k] items[i, k],  k ascending
 *     above(u, j) = |{i not excluded : score(u, i) > score(u, j)}|
 *
 * Cost of a query with t targets: n f multiply-adds and, for each score that is not below the lowest target, a binary
 * search (log t). The targets' scores are computed tile by tile like all others, so that identical items tie exactly.
 * Excluded items are counted with the rest and then subtracted.
 *
 * The scores themselves, for who adds them to others, are those of the same tiles: n f multiply-adds a query. */
#include "ranks.h"

#include "memory.h"
#include "vector.h"

#define ITEM_TILE 256  /* items scored at a time: 64 KiB packed at f = 64, float32 */
#define QUERY_BLOCK 64 /* queries that share a packed tile */
#define QUERY_GROUP 4  /* queries scored at a time */
#define PAIRED 8       /* items scored at a time for a single query */

#include "use_float32.h"
#include "scores_real.h"
#include "ranks_real.h"
#include "use_none.h"

#include "use_float64.h"
#include "scores_real.h"
#include "ranks_real.h"
#include "use_none.h"

extern const ranks_table ALTERNANT_TABLE(ranks);
const ranks_table ALTERNANT_TABLE(ranks) = {
    {score_lists_f32, score_lists_f64},
    {count_f32, count_f64},
    {score_all_f32, score_all_f64},
};
