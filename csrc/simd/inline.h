/* Helpers must be inlined: a call would leave the instruction set that the enclosing file is compiled for. */
#ifndef CROSSENT_INLINE_H
#define CROSSENT_INLINE_H

#if defined(__GNUC__) || defined(__clang__)
#define CE_INLINE static inline __attribute__((always_inline, unused))
#define CE_STATIC static __attribute__((unused))
#elif defined(_MSC_VER)
#define CE_INLINE static __forceinline
#define CE_STATIC static
#else
#define CE_INLINE static inline
#define CE_STATIC static
#endif

#if defined(__GNUC__) || defined(__clang__)
#define CE_PREFETCH(p) __builtin_prefetch(p)
#define CE_PREFETCH_TO_WRITE(p) __builtin_prefetch(p, 1)
#else
#define CE_PREFETCH(p) ((void)(p))
#define CE_PREFETCH_TO_WRITE(p) ((void)(p))
#endif

#endif
