package sysmem

import (
	"math"
	"os"
	"path"
	"strconv"
	"strings"
)

func available() (int64, bool) {
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, false
	}
	bytes, ok := memAvailable(string(meminfo))
	if groups, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		if left, limited := groupLeft("/sys/fs/cgroup", string(groups)); limited && (!ok || left < bytes) {
			bytes, ok = left, true
		}
	}
	return bytes, ok
}

// memAvailable reads the kernel's own estimate from /proc/meminfo.
func memAvailable(meminfo string) (int64, bool) {
	for line := range strings.Lines(meminfo) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err == nil
		}
	}
	return 0, false
}

// groupLeft returns the least that any control group of the process, or one
// above it, has left. Both versions of the interface are read; root is where
// they are mounted.
func groupLeft(root, groups string) (left int64, limited bool) {
	left = math.MaxInt64
	for line := range strings.Lines(groups) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy:controllers:path
		if len(part) != 3 {
			continue
		}
		var base, limitFile, usageFile string
		switch {
		case part[0] == "0" && part[1] == "":
			base, limitFile, usageFile = root, "memory.max", "memory.current"
		case strings.Contains(","+part[1]+",", ",memory,"):
			base, limitFile, usageFile = path.Join(root, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"
		default:
			continue
		}
		for dir := path.Clean("/" + part[2]); ; dir = path.Dir(dir) {
			folder := path.Join(base, dir)
			limit, ok := readNumber(path.Join(folder, limitFile))
			// Version 1 writes no limit as nearly 2⁶³.
			if usage, known := readNumber(path.Join(folder, usageFile)); ok && known && limit < 1<<60 {
				usage -= min(usage, reclaimable(folder))
				left, limited = min(left, max(0, limit-usage)), true
			}
			if dir == "/" {
				break
			}
		}
	}
	return left, limited
}

// reclaimable is the part of a group's usage that is cached files.
func reclaimable(folder string) int64 {
	stat, err := os.ReadFile(path.Join(folder, "memory.stat"))
	if err != nil {
		return 0
	}
	var total int64
	for line := range strings.Lines(string(stat)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "inactive_file" || name == "active_file" {
			if n, err := strconv.ParseInt(value, 10, 64); err == nil {
				total += n
			}
		}
	}
	return total
}

func readNumber(file string) (int64, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n, err == nil // "max" is no limit
}
