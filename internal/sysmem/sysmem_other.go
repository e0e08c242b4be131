//go:build !linux

package sysmem

// Elsewhere the system is not asked; --memory-limit still holds.
func available() (int64, bool) { return 0, false }
