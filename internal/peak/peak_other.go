//go:build !amd64

package peak

var fma, half, loads, dot = scalar, unit{}, unit{}, unit{}

func read(p []byte) { readScalar(p) }
