//go:build !nocuda && ((linux && !android) || windows) && (amd64 || arm64)

package driver

import "fmt"

// symbol is an entry point of the library.
type symbol int

const (
	symInit symbol = iota
	symDriverGetVersion
	symGetErrorName
	symGetErrorString
	symDeviceGetCount
	symDeviceGet
	symDeviceGetName
	symDeviceGetAttribute
	symDeviceTotalMem
	symPrimaryCtxRetain
	symPrimaryCtxRelease
	symCtxSetCurrent
	symCtxSynchronize
	symMemGetInfo
	symMemAlloc
	symMemFree
	symMemHostAlloc
	symMemFreeHost
	symMemcpyHtoDAsync
	symMemcpyDtoHAsync
	symMemcpyDtoDAsync
	symMemsetD8Async
	symStreamCreate
	symStreamDestroy
	symStreamSynchronize
	symStreamWaitEvent
	symEventCreate
	symEventDestroy
	symEventRecord
	symEventQuery
	symEventSynchronize
	symEventElapsedTime
	symModuleLoadDataEx
	symModuleUnload
	symModuleGetFunction
	symFuncSetAttribute
	symFuncGetAttribute
	symLaunchKernel
	symStreamBeginCapture
	symStreamEndCapture
	symGraphInstantiate
	symGraphLaunch
	symGraphDestroy
	symGraphExecDestroy
	numSymbols
)

// entries are the names to look up, and the CUDA whose driver has them first. A
// bare name is the oldest ABI, so those that changed bear their suffix.
var entries = [numSymbols]struct {
	name  string
	since int
}{
	symInit:               {"cuInit", 2000},
	symDriverGetVersion:   {"cuDriverGetVersion", 2020},
	symGetErrorName:       {"cuGetErrorName", 6000},
	symGetErrorString:     {"cuGetErrorString", 6000},
	symDeviceGetCount:     {"cuDeviceGetCount", 2000},
	symDeviceGet:          {"cuDeviceGet", 2000},
	symDeviceGetName:      {"cuDeviceGetName", 2000},
	symDeviceGetAttribute: {"cuDeviceGetAttribute", 2000},
	symDeviceTotalMem:     {"cuDeviceTotalMem_v2", 3020},
	symPrimaryCtxRetain:   {"cuDevicePrimaryCtxRetain", 7000},
	symPrimaryCtxRelease:  {"cuDevicePrimaryCtxRelease_v2", 11000},
	symCtxSetCurrent:      {"cuCtxSetCurrent", 4000},
	symCtxSynchronize:     {"cuCtxSynchronize", 2000},
	symMemGetInfo:         {"cuMemGetInfo_v2", 3020},
	symMemAlloc:           {"cuMemAlloc_v2", 3020},
	symMemFree:            {"cuMemFree_v2", 3020},
	symMemHostAlloc:       {"cuMemHostAlloc", 2020},
	symMemFreeHost:        {"cuMemFreeHost", 2000},
	symMemcpyHtoDAsync:    {"cuMemcpyHtoDAsync_v2", 3020},
	symMemcpyDtoHAsync:    {"cuMemcpyDtoHAsync_v2", 3020},
	symMemcpyDtoDAsync:    {"cuMemcpyDtoDAsync_v2", 3020},
	symMemsetD8Async:      {"cuMemsetD8Async", 3020},
	symStreamCreate:       {"cuStreamCreate", 2000},
	symStreamDestroy:      {"cuStreamDestroy_v2", 4000},
	symStreamSynchronize:  {"cuStreamSynchronize", 2000},
	symStreamWaitEvent:    {"cuStreamWaitEvent", 3020},
	symEventCreate:        {"cuEventCreate", 2000},
	symEventDestroy:       {"cuEventDestroy_v2", 4000},
	symEventRecord:        {"cuEventRecord", 2000},
	symEventQuery:         {"cuEventQuery", 2000},
	symEventSynchronize:   {"cuEventSynchronize", 2000},
	symEventElapsedTime:   {"cuEventElapsedTime", 2000},
	symModuleLoadDataEx:   {"cuModuleLoadDataEx", 2010},
	symModuleUnload:       {"cuModuleUnload", 2000},
	symModuleGetFunction:  {"cuModuleGetFunction", 2000},
	symFuncSetAttribute:   {"cuFuncSetAttribute", 9000},
	symFuncGetAttribute:   {"cuFuncGetAttribute", 2020},
	symLaunchKernel:       {"cuLaunchKernel", 4000},
	symStreamBeginCapture: {"cuStreamBeginCapture_v2", 10010},
	symStreamEndCapture:   {"cuStreamEndCapture", 10000},
	symGraphInstantiate:   {"cuGraphInstantiateWithFlags", 11040},
	symGraphLaunch:        {"cuGraphLaunch", 10000},
	symGraphDestroy:       {"cuGraphDestroy", 10000},
	symGraphExecDestroy:   {"cuGraphExecDestroy", 10000},
}

// resolve looks every entry point up. version asks the library, by its entry
// point, which CUDA it is for.
func resolve(library string, lookup func(string) (uintptr, error), version func(uintptr) int) (fn [numSymbols]uintptr, err error) {
	for s, e := range entries {
		if fn[s], err = lookup(e.name); err == nil && fn[s] != 0 {
			continue
		}
		is := "an unknown version"
		if v := fn[symDriverGetVersion]; v != 0 {
			is = "CUDA " + VersionString(version(v))
		}
		least := 0
		for _, e := range entries {
			least = max(least, e.since)
		}
		return fn, fmt.Errorf("%s, of a driver for %s, has no %s, which came with CUDA %s; Selkie needs a driver for CUDA %s or later: update it, or compute on the CPU (--device cpu)",
			library, is, e.name, VersionString(e.since), VersionString(least))
	}
	return fn, nil
}
