// Package sysmem tells how much memory this process may still use, and compares
// plans with it. It imports nothing of the project.
package sysmem

import "fmt"

// Available returns the bytes that can be had without swapping: what the system
// has free or can reclaim, and no more than the process's control groups allow.
// ok is false where the system does not tell.
func Available() (bytes int64, ok bool) { return available() }

// Check returns an error when need, the bytes a plan is estimated to take, is
// more than limit (0: none) or than is available. Its text says what the plan
// is, both figures, and advice, what would make the plan smaller.
func Check(plan string, need, limit int64, advice string) error {
	free, _ := Available()
	return CheckOf(free, plan, need, limit, advice)
}

// CheckOf is Check for a memory of which free bytes are available; 0: that is not known.
func CheckOf(free int64, plan string, need, limit int64, advice string) error {
	has, what := limit, "the memory limit is"
	if free > 0 && (limit == 0 || free < limit) {
		has, what = free, "available are"
	}
	if has == 0 || need <= has {
		return nil
	}
	return fmt.Errorf("%s needs about %s of memory, but %s %s: %s", plan, Format(need), what, Format(has), advice)
}

// Format writes a number of bytes for people.
func Format(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}
