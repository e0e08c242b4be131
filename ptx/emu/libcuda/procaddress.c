// cuGetProcAddress finds entry points of this library under the names of their
// newest form.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef int CUresult;
enum { NOT_FOUND = 500 };

static void *find(const char *name) {
	static void *self;
	char suffixed[256];
	if (self == 0) {
		Dl_info info;
		if (dladdr((void *)find, &info) == 0)
			return 0;
		self = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
	}
	if (self == 0)
		return 0;
	if (strcmp(name, "cuGraphInstantiate") == 0)
		name = "cuGraphInstantiateWithFlags";
	snprintf(suffixed, sizeof suffixed, "%s_v2", name);
	void *p = dlsym(self, suffixed);
	return p ? p : dlsym(self, name);
}

CUresult cuGetProcAddress_v2(const char *name, void **out, int version, uint64_t flags, int *status) {
	(void)version, (void)flags;
	*out = find(name);
	if (status)
		*status = *out ? 0 : 1;
	return *out ? 0 : NOT_FOUND;
}

CUresult cuGetProcAddress(const char *name, void **out, int version, uint64_t flags) {
	return cuGetProcAddress_v2(name, out, version, flags, 0);
}
