//go:build !linux

package host

// hugePages asks for large pages where a system lets a program ask.
func hugePages([]byte) {}
