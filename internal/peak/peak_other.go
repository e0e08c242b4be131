//go:build !amd64

package peak

var fma, dot = scalar, unit{}

func read(p []byte) { readScalar(p) }
