package vec

// Rope rotates the heads of a row x into y, each of two halves of len(cos):
//
//	s         = sign · sin[j]
//	y[j]      = x[j]·cos[j] − x[j+half]·s
//	y[j+half] = x[j+half]·cos[j] + x[j]·s
func Rope(y, x, cos, sin []float32, heads int, sign float32) {
	mustMatch("Rope", len(cos), len(sin))
	mustMatch("Rope", 2*heads*len(cos), len(x), len(y))
	if heads > 0 {
		rope(y, x, cos, sin, heads, sign)
	}
}
