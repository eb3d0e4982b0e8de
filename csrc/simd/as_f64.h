/* From here on the generic names mean double. */
#undef T
#undef T_MAX
#undef T_EPSILON
#undef V
#undef LANES
#undef LANES_LOG2
#undef WIDE_PARTS
#undef CE_V
#undef W
#undef CE_W
#undef F
#define T double
#define T_MAX DBL_MAX
#define T_EPSILON DBL_EPSILON
#define V vd
#define LANES 8
#define LANES_LOG2 3
#define WIDE_PARTS 1
#define CE_V(op) vd_##op
#define W w64
#define CE_W(op) w64_##op
#define F(name) name##_f64
