// Contexts are numbers: 1 is the device's primary one. Each thread has a stack of
// those that it made current. Go programs that do not lock their OS thread lose it, on
// a GPU now and then, here often: with SELKIE_EMU_THREADS=any a thread that never had a
// context begins with the one that was made last.

#include <stdint.h>
#include <stdlib.h>

typedef int CUresult;
enum { INVALID_VALUE = 1, INVALID_CONTEXT = 201, DEPTH = 64 };

extern CUresult selkieRetainPrimary(int), selkieEnter(int), selkieLeave(void);

static __thread uintptr_t stack[DEPTH];
static __thread int depth;

static __thread int used; // this thread had a context, or was given one

static uintptr_t last = 1; // given to a context
static char gone[1 << 16]; // contexts that were destroyed

static void adopt(void) {
	const char *any = getenv("SELKIE_EMU_THREADS");
	if (!used && depth == 0 && last > 1 && !gone[last] && any && any[0] == 'a')
		stack[depth++] = last;
	used = 1;
}

int selkieHasContext(void) {
	adopt();
	return depth > 0 && stack[depth - 1] != 0 && !gone[stack[depth - 1]];
}

uintptr_t selkieContext(void) {
	adopt();
	return depth > 0 ? stack[depth - 1] : 0;
}

static int known(uintptr_t c) { return c >= 1 && c <= last && !gone[c]; }

CUresult cuDevicePrimaryCtxRetain(uintptr_t *out, int dev) {
	*out = 1;
	return selkieRetainPrimary(dev);
}

CUresult cuCtxSetCurrent(uintptr_t c) {
	used = 1;
	if (c == 0) {
		if (depth > 0)
			depth--;
		return 0;
	}
	if (!known(c))
		return INVALID_CONTEXT;
	if (depth == 0)
		depth = 1;
	stack[depth - 1] = c;
	return 0;
}

CUresult cuCtxGetCurrent(uintptr_t *out) {
	*out = selkieContext();
	return 0;
}

CUresult cuCtxPushCurrent_v2(uintptr_t c) {
	used = 1;
	if (!known(c))
		return INVALID_CONTEXT;
	if (depth == DEPTH)
		return INVALID_VALUE;
	stack[depth++] = c;
	return 0;
}

CUresult cuCtxPopCurrent_v2(uintptr_t *out) {
	adopt();
	if (depth == 0)
		return INVALID_CONTEXT;
	uintptr_t c = stack[--depth];
	if (out)
		*out = c;
	return 0;
}

CUresult cuCtxCreate_v2(uintptr_t *out, unsigned flags, int dev) {
	(void)flags;
	if (out == 0 || last + 1 >= sizeof gone)
		return INVALID_VALUE;
	CUresult r = selkieEnter(dev);
	if (r)
		return r;
	*out = __atomic_add_fetch(&last, 1, __ATOMIC_SEQ_CST);
	return cuCtxPushCurrent_v2(*out);
}

CUresult cuCtxDestroy_v2(uintptr_t c) {
	if (c == 1 || !known(c))
		return INVALID_CONTEXT;
	gone[c] = 1;
	if (depth > 0 && stack[depth - 1] == c)
		depth--;
	return selkieLeave();
}

CUresult cuCtxGetDevice(int *out) {
	if (!selkieHasContext())
		return INVALID_CONTEXT;
	*out = 0;
	return 0;
}

CUresult cuCtxGetApiVersion(uintptr_t c, unsigned *out) {
	if (c != 0 && !known(c))
		return INVALID_CONTEXT;
	*out = 3020;
	return 0;
}

CUresult cuCtxGetFlags(unsigned *out) {
	*out = 0;
	return selkieHasContext() ? 0 : INVALID_CONTEXT;
}

// Settings are kept and have no effect.
static int cacheConfig, sharedConfig = 1;
static size_t limits[16] = {1024, 1 << 20, 8 << 20}; // stack, printf, heap

CUresult cuCtxSetCacheConfig(int v) {
	cacheConfig = v;
	return selkieHasContext() ? 0 : INVALID_CONTEXT;
}

CUresult cuCtxGetCacheConfig(int *out) {
	*out = cacheConfig;
	return selkieHasContext() ? 0 : INVALID_CONTEXT;
}

CUresult cuCtxSetSharedMemConfig(int v) {
	sharedConfig = v;
	return selkieHasContext() ? 0 : INVALID_CONTEXT;
}

CUresult cuCtxGetSharedMemConfig(int *out) {
	*out = sharedConfig;
	return selkieHasContext() ? 0 : INVALID_CONTEXT;
}

CUresult cuCtxSetLimit(int which, size_t v) {
	if (which < 0 || which >= 16)
		return INVALID_VALUE;
	limits[which] = v;
	return selkieHasContext() ? 0 : INVALID_CONTEXT;
}

CUresult cuCtxGetLimit(size_t *out, int which) {
	if (which < 0 || which >= 16)
		return INVALID_VALUE;
	*out = limits[which];
	return selkieHasContext() ? 0 : INVALID_CONTEXT;
}
