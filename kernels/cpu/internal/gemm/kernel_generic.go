package gemm

var genericKernels = kernelSet{width: panel, tall: []kernel{
	{2, generic(2, generic2), generic(2, generic2)},
	{1, generic(1, generic1), generic(1, generic1)},
}}

type genericFunc func(k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, bias *float32, add bool)

// generic makes a kernelFunc of one that computes a single chunk of a single tile.
func generic(rows int, tile genericFunc) kernelFunc {
	return func(tiles, k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, bias *float32, add bool, _ uintptr, _, _ int) {
		for t := range tiles {
			a, c := add32(a, t*rows*as), add32(c, t*rows*ldc)
			for k0 := 0; k0 < k; k0 += KC {
				var last *float32
				if k0+KC >= k {
					last = bias
				}
				tile(min(KC, k-k0), add32(a, k0*ak), as, ak, add32(b, k0*ldb), ldb, c, ldc, cols, last, add || k0 > 0)
			}
		}
	}
}

// generic2 holds a 2×4 tile in registers. Products are converted explicitly,
// which forbids the compiler to fuse them: the bits are the same on every
// processor.
func generic2(k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, bias *float32, add bool) {
	av := slice32(a, as+(k-1)*ak+1)
	bv := slice32(b, (k-1)*ldb+panel)
	var s [2][panel]float32
	for j := 0; j < cols; j += 4 {
		var s00, s01, s02, s03, s10, s11, s12, s13 float32
		for l := range k {
			w := (*[4]float32)(bv[l*ldb+j:])
			x := av[l*ak]
			s00 += float32(x * w[0])
			s01 += float32(x * w[1])
			s02 += float32(x * w[2])
			s03 += float32(x * w[3])
			x = av[as+l*ak]
			s10 += float32(x * w[0])
			s11 += float32(x * w[1])
			s12 += float32(x * w[2])
			s13 += float32(x * w[3])
		}
		*(*[4]float32)(s[0][j:]) = [4]float32{s00, s01, s02, s03}
		*(*[4]float32)(s[1][j:]) = [4]float32{s10, s11, s12, s13}
	}
	genericStore(s[0][:cols], c, bias, add)
	genericStore(s[1][:cols], add32(c, ldc), bias, add)
}

func generic1(k int, a *float32, as, ak int, b *float32, ldb int, c *float32, ldc int, cols int, bias *float32, add bool) {
	av := slice32(a, (k-1)*ak+1)
	bv := slice32(b, (k-1)*ldb+panel)
	var s [panel]float32
	for l := range k {
		x := av[l*ak]
		w := (*[panel]float32)(bv[l*ldb:])
		for j := range s {
			s[j] += float32(x * w[j])
		}
	}
	genericStore(s[:cols], c, bias, add)
}

// genericStore finishes one row of a tile.
func genericStore(s []float32, c, bias *float32, add bool) {
	row := slice32(c, len(s))
	if add {
		for j, v := range row {
			s[j] = v + s[j]
		}
	}
	if bias != nil {
		for j, v := range slice32(bias, len(s)) {
			s[j] += v
		}
	}
	copy(row, s)
}
