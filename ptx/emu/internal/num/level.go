package num

import "os"

// Level is a set of vector instructions.
type Level uint8

const (
	Generic Level = iota // plain Go
	AVX2                 // AVX2 and FMA3
	AVX512               // AVX-512 F, BW, DQ and VL besides
)

// Vectors is the set in use: the best of this processor, unless SELKIE_NO_AVX512=1 or
// SELKIE_NO_AVX2=1 was in the environment. Tests lower it; not while others compute.
var Vectors = allowed(detect(), os.Getenv)

func allowed(have Level, env func(string) string) Level {
	switch {
	case env("SELKIE_NO_AVX2") == "1":
		return Generic
	case env("SELKIE_NO_AVX512") == "1":
		return min(have, AVX2)
	}
	return have
}
