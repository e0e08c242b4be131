//go:build !(linux && amd64)

package amx

// BF16 reports false: how to ask this system for tiles is not known here.
func BF16() bool { return false }
