//go:build !amd64

package peak

var fma, half, dot = scalar, unit{}, unit{}

func read(p []byte) { readScalar(p) }
