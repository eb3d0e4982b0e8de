/* From here on the generic names mean float. */
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
#define T float
#define T_MAX FLT_MAX
#define T_EPSILON FLT_EPSILON
#define V vf
#define LANES 16
#define LANES_LOG2 4
#define WIDE_PARTS 2 /* vectors of doubles that one V widens to */
#define CE_V(op) vf_##op
#define W w32
#define CE_W(op) w32_##op
#define F(name) name##_f32
